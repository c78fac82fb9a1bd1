package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"

	"hearth/compute/wire"
	"hearth/core/fault"
	"hearth/core/instance"
	"hearth/internal/bounded"
)

// secretsNamed is what secrets are kept under, by their instance's name. They aren't in
// its record, which is read at every look: they are larger, and read when a host starts
// the instance and asks for them.
const secretsNamed = "secrets/"

// newSecrets are files with a key of their own; nil where there are none.
func newSecrets(files []instance.Secret) (*instance.Secrets, error) {
	if len(files) == 0 {
		return nil, nil
	}
	s := &instance.Secrets{Files: slices.Clone(files)}
	slices.SortFunc(s.Files, func(a, b instance.Secret) int { return strings.Compare(a.Name, b.Name) })
	if _, err := rand.Read(s.Key[:]); err != nil {
		return nil, err
	}
	return s, s.Check()
}

// keepAll keeps an instance's secrets, if it has any, and its record.
func (x *Client) keepAll(ctx context.Context, i Instance, s *instance.Secrets) error {
	if s != nil {
		if err := x.c.Records.Keep(ctx, secretsNamed+i.Name, s.Encode()); err != nil {
			return fmt.Errorf("keep secrets of instance %s: %w", i.Name, err)
		}
	}
	err := x.keep(ctx, i)
	if err != nil && s != nil {
		err = errors.Join(err, x.c.Records.Drop(context.WithoutCancel(ctx), secretsNamed+i.Name))
	}
	return err
}

// drop forgets an instance: its secrets first, so that none outlive their record.
func (x *Client) drop(ctx context.Context, i Instance) error {
	if i.Spec.Secrets != ([32]byte{}) {
		if err := x.c.Records.Drop(ctx, secretsNamed+i.Name); err != nil && fault.CodeOf(err) != fault.NotFound {
			return fmt.Errorf("forget secrets of instance %s: %w", i.Name, err)
		}
	}
	return x.c.Records.Drop(ctx, named+i.Name)
}

// secrets are the canonical bytes of what was signed for.
func (x *Client) secrets(ctx context.Context, i Instance) ([]byte, error) {
	b := &bounded.Buffer{Most: instance.MaxSecretsCoded}
	if err := x.c.Records.Read(ctx, secretsNamed+i.Name, b); err != nil {
		return nil, fmt.Errorf("read secrets of instance %s: %w", i.Name, err)
	}
	s, err := instance.DecodeSecrets(b.Bytes())
	if err != nil {
		return nil, fmt.Errorf("secrets of instance %s: %w", i.Name, err)
	}
	if s.Commitment() != i.Spec.Secrets {
		return nil, fault.New(fault.NotFound, "secrets of instance %s: what is kept are another's", i.Name)
	}
	return b.Bytes(), nil
}

// A bag has what a host may ask for to start one instance: the parts of its image, and
// its secrets once.
type bag struct {
	*parts
	i     Instance
	given bool
}

func (x *Client) supplySecrets(ctx context.Context, t *talk, b *bag, need *wire.Need) error {
	if b.given || b.i.Spec.Secrets == ([32]byte{}) {
		return fault.New(fault.BadFrame, "%s asks for secrets that it has, or that there aren't", t.pair.Host())
	}
	b.given = true
	s, err := x.secrets(ctx, b.i)
	if err != nil {
		return err
	}
	return x.pour(ctx, t, bytes.NewReader(s), int64(len(s)), need.GetMost())
}

// giveAgain has a host run what it has lost the secrets of. Nothing of an image is sent
// for it: a host that asked for one each time would be paid for each.
func (x *Client) giveAgain(ctx context.Context, pair Pair, shown *wire.Shown, r instance.Roster, stay map[instance.ID]Instance) {
	ctx, cancel := context.WithTimeout(ctx, x.c.Pause)
	defer cancel()
	for n, e := range r {
		i, stays := stay[e.ID]
		if !stays || i.Spec.Digest() != e.Spec || !shown.GetStanding()[n].GetWaits() {
			continue
		}
		if err := x.startWith(ctx, pair, &bag{parts: noParts(x.c.Images), i: i}); err != nil {
			x.c.Log.Warn("give secrets again", "name", i.Name, "host", pair.Host(), "err", err)
			continue
		}
		x.c.Log.Info("gave secrets again", "name", i.Name, "host", pair.Host())
	}
}
