package client

import (
	"context"

	"hearth/core/fault"
	"hearth/core/share"
	"hearth/storage/index"
)

// purseShare notes a purse from before it is filled until it is empty again.
const purseShare = "purse/"

// purseTime is how long making a link may take, in seconds.
const purseTime = 3600

// fillPurse has the purse of a link filled, if its owner is to pay.
func (x *Client) fillPurse(ctx context.Context, s Share, by Issuer) (*Purse, error) {
	if by.Pay == 0 {
		return nil, nil
	}
	if err := x.c.Index.MakeHidden(ctx, index.Shares); err != nil && fault.CodeOf(err) != fault.Exists {
		return nil, err
	}
	note := index.Draft{Ref: purseRef(s.Serial), ETag: s.Serial.String(), Extra: s.extra()}
	if _, err := x.c.Index.Commit(ctx, 0, note); err != nil {
		return nil, err
	}
	p, err := by.Fund(ctx, s.Serial)
	if err != nil {
		return nil, err
	}
	return &p, nil
}

func purseRef(serial share.Serial) index.Ref {
	return index.Ref{Bucket: index.Shares, Key: purseShare + serial.String()}
}

// Purses lists the purses of links that hold no more: what is left in them goes
// back. Who has taken everything back calls DropPurse.
func (x *Client) Purses(ctx context.Context) (over []Share, err error) {
	for after, more := "", true; more; {
		page, err := x.c.Index.List(ctx, index.Shares, index.Listing{Prefix: purseShare, After: after})
		if fault.CodeOf(err) == fault.NotFound {
			return over, nil // nothing was ever shared
		}
		if err != nil {
			return nil, err
		}
		for _, o := range page.Objects {
			s, err := shareOf(o)
			if err != nil {
				return nil, err
			}
			held, err := x.holds(ctx, s)
			if err != nil {
				return nil, err
			}
			if !held {
				over = append(over, s)
			}
		}
		after, more = page.Next, page.Next != ""
	}
	return over, nil
}

// holds says whether a link holds, or is about to.
func (x *Client) holds(ctx context.Context, s Share) (bool, error) {
	now := x.c.Now().Unix()
	if s.Until < now {
		return false, nil
	}
	_, err := x.c.Index.Head(ctx, index.Ref{Bucket: index.Shares, Key: liveShare + s.Serial.String()})
	if fault.CodeOf(err) != fault.NotFound {
		return err == nil, err
	}
	_, err = x.c.Index.Head(ctx, index.Ref{Bucket: index.Shares, Key: deadShare + s.Serial.String()})
	if fault.CodeOf(err) == fault.NotFound {
		return now-s.Created < purseTime, nil
	}
	return false, err
}

// DropPurse forgets an empty purse.
func (x *Client) DropPurse(ctx context.Context, serial share.Serial) error {
	_, err := x.c.Index.Remove(ctx, purseRef(serial), index.RemoveOptions{})
	return err
}
