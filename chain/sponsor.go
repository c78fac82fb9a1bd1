package chain

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"hearth/core/address"
	"hearth/core/fault"
)

// Sponsored is a newcomer's first allowance for fees.
type Sponsored struct {
	Granter string `json:"granter"` // give it to PaidBy
	Tx      string `json:"tx"`      // hash of the transaction that granted it, hex
}

// Sponsor asks a ledger node for an allowance for the fees of an account, and
// returns when it is granted. Each node may refuse (fault.SponsorRefused); all are asked.
func (c *Client) Sponsor(ctx context.Context, account string) (Sponsored, error) {
	body, err := json.Marshal(map[string]string{"address": account})
	if err != nil {
		return Sponsored{}, fmt.Errorf("ask for sponsorship: %w", err)
	}
	var out Sponsored
	var no error
	err = c.ask(ctx, "ask for sponsorship", func(n *node) error {
		answer, status, err := n.post(ctx, "/sponsor", body, smallAnswer)
		if err != nil {
			return err
		}
		if status == http.StatusOK {
			if err := json.Unmarshal(answer, &out); err != nil {
				return fmt.Errorf("not an answer of a sponsor: %w", err)
			}
			if _, err := address.Bytes(out.Granter); err != nil {
				return fault.New(fault.LedgerDown, "not an answer of a sponsor: %w", err)
			}
			return nil
		}
		var problem struct {
			Code   fault.Code `json:"code"`
			Detail string     `json:"detail"`
			Title  string     `json:"title"`
		}
		if json.Unmarshal(answer, &problem) == nil && problem.Code == fault.SponsorRefused {
			no = fault.New(fault.SponsorRefused, "ask for sponsorship: %s: %.500s", n.url, problem.Title+" "+problem.Detail)
		}
		return fmt.Errorf("status %d: not sponsored", status) // the next node may
	})
	if err != nil && no != nil {
		return Sponsored{}, no
	}
	return out, err
}
