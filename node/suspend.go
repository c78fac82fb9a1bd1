package node

import "context"

func (r instanceRole) Suspend(ctx context.Context, name string) error {
	return r.b.instances.Suspend(ctx, name)
}
