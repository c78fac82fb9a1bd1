package chain

import (
	"context"

	"google.golang.org/protobuf/proto"

	"hearth/chain/pb/pointersv1"
	"hearth/core/pointer"
)

const pointersStore = "pointers"

func pointersKey(account string) []byte { return append([]byte{1}, account...) }

// SetPointer puts the pointer of a device's log in the place of its older one.
// signer is the account or that of a key with its mandate.
func SetPointer(signer string, p pointer.Signed) proto.Message {
	return &pointersv1.MsgSetPointer{Signer: signer, Pointer: p.Encode()}
}

// Pointers are the newest pointers of an account's devices that the ledger has
// been told, proved; none where there are none. Whether the account's own pointer
// key has signed them is for the caller to ask.
func (c *Client) Pointers(ctx context.Context, account string) ([]pointer.Signed, error) {
	var a pointersv1.Account
	ok, err := c.record(ctx, pointersStore, pointersKey(account), &a)
	if err != nil || !ok {
		return nil, err
	}
	if a.Address != account {
		return nil, odd("pointers of %s: they are of %s", account, a.Address)
	}
	out := make([]pointer.Signed, len(a.Pointers))
	for i, b := range a.Pointers {
		if out[i], err = pointer.Decode(b); err != nil {
			return nil, odd("pointers of %s: %w", account, err)
		}
	}
	return out, nil
}
