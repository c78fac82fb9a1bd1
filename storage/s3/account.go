package s3

import (
	"context"

	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/s3err"

	"hearth/core/capability"
	"hearth/core/fault"
)

// holder says with what capability a request is made, and whether it is signed.
// Who came without a signature is held to the bucket's policy by the gateway alone.
func (b *backend) holder(ctx context.Context) (c capability.Capability, signed bool, err error) {
	a, _ := ctx.Value("account").(auth.Account)
	if a.Access == "" {
		return c, false, nil
	}
	if c, err = b.c.Keys.holder(a.Access, a.SessionToken); err != nil {
		err = s3err.GetAPIError(s3err.ErrAccessDenied) // revoked meanwhile
	}
	return c, true, err
}

// may asks the caveats of the request's key once more, where the key of the
// object is known for sure.
func (b *backend) may(ctx context.Context, op capability.Op, bucket, key string) error {
	c, signed, err := b.holder(ctx)
	if !signed || err != nil {
		return err
	}
	err = c.Limits().Allow(op, bucket, key, b.c.Now().Unix())
	if fault.CodeOf(err) == fault.Unauthorized {
		return denied("This is outside of what " + err.Error() + ".")
	}
	if err != nil {
		return s3err.GetAPIError(s3err.ErrAccessDenied)
	}
	return nil
}
