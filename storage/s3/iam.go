package s3

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/s3err"

	"hearth/core/capability"
)

var words = base32.StdEncoding

// iam shows the door's keys to the gateway: who signs with a key that takes
// nothing away acts as the buckets' owner; everybody else is held to the key's
// caveats in each operation, and to the bucket's policy beside.
type iam struct {
	keys  *Keys
	owner string
	now   func() time.Time
}

var (
	_ auth.IAMService         = (*iam)(nil)
	_ auth.SigningKeyProvider = (*iam)(nil)
	_ auth.PolicyEvaluator    = (*iam)(nil)
	_ auth.FixedBucketOwner   = (*iam)(nil)
)

// DeriveSigningKey gives the key that a request of access must be signed with.
func (i *iam) DeriveSigningKey(access, token, date, region, service string) ([]byte, auth.Account, error) {
	c, err := i.keys.holder(access, token)
	switch {
	case errors.Is(err, errNoKey):
		return nil, auth.Account{}, auth.ErrNoSuchUser
	case err != nil:
		return nil, auth.Account{}, auth.ErrInvalidSessionToken
	}
	l := c.Limits()
	if i.now().Unix() > l.Until {
		return nil, auth.Account{}, denied("The key has ended.")
	}
	step := []byte("AWS4" + c.Secret(i.keys.root).Word())
	for _, s := range []string{date, region, service, "aws4_request"} {
		h := hmac.New(sha256.New, step)
		h.Write([]byte(s))
		step = h.Sum(nil)
	}
	return step, i.account(access, token, l), nil
}

func (i *iam) account(access, token string, l capability.Limits) auth.Account {
	a := auth.Account{Access: strings.Clone(access), Role: auth.RoleUser, SessionToken: strings.Clone(token), IsSession: token != ""}
	if l.Whole() {
		a.Role = auth.RoleAdmin
	}
	return a
}

// denied is AccessDenied with a reason.
func denied(why string) error {
	return s3err.APIError{Code: "AccessDenied", Description: "Access Denied. " + why, HTTPStatusCode: http.StatusForbidden}
}

// The gateway's decisions, by their numbers.
const (
	allow = 1
	deny  = 2
)

// EvaluatePolicy says of each resource and action whether the key's caveats leave
// it. What they don't leave is denied for good: no bucket policy gives it back.
func (i *iam) EvaluatePolicy(access, token string, actions []auth.Action, resources []string, _ map[string][]string) (auth.PolicyEvaluation, error) {
	var out auth.PolicyEvaluation
	c, err := i.keys.holder(access, token)
	if err != nil {
		return out, s3err.GetAPIError(s3err.ErrAccessDenied)
	}
	l, now := c.Limits(), i.now().Unix()
	decide(&out.Decisions, len(resources), len(actions), func(r, a int) bool {
		bucket, key, whole := strings.Cut(strings.TrimPrefix(resources[r], auth.ResourceArnPrefix), "/")
		op := operation(actions[a])
		switch {
		case op == lookUp:
			return l.Ops != 0 && now <= l.Until && (l.Bucket == "" || l.Bucket == bucket)
		case bucket == "*":
			bucket = ""
		case !whole && op != capability.Manage:
			key = l.Prefix // the operation names no key yet: the backend asks again
		}
		return l.Allow(op, bucket, key, now) == nil
	})
	out.PrincipalArn = "arn:aws:iam:::user/" + access
	return out, nil
}

// decide fills a table of the gateway's decisions, whose type has no name here.
func decide[D ~int](into *[][]D, rows, columns int, may func(r, c int) bool) {
	for r := range rows {
		line := make([]D, columns)
		for c := range line {
			if line[c] = deny; may(r, c) {
				line[c] = allow
			}
		}
		*into = append(*into, line)
	}
}

// operation is what an action comes to. One that isn't listed manages.
func operation(a auth.Action) capability.Op {
	switch a {
	case auth.GetObjectAction, auth.GetObjectVersionAction, auth.GetObjectAclAction, auth.GetObjectAttributesAction,
		auth.GetObjectVersionAttributesAction, auth.GetObjectTaggingAction, auth.GetObjectVersionTaggingAction,
		auth.GetObjectLegalHoldAction, auth.GetObjectRetentionAction:
		return capability.Read
	case auth.ListBucketAction, auth.ListBucketVersionsAction, auth.ListAllMyBucketsAction, auth.ListBucketMultipartUploadsAction:
		return capability.List
	case auth.PutObjectAction, auth.PutObjectTaggingAction, auth.PutObjectVersionTaggingAction, auth.DeleteObjectTaggingAction,
		auth.DeleteObjectVersionTaggingAction, auth.PutObjectLegalHoldAction, auth.PutObjectRetentionAction, auth.ListMultipartUploadPartsAction,
		auth.PutObjectAclAction, auth.RestoreObjectAction:
		return capability.Write
	case auth.DeleteObjectAction, auth.DeleteObjectVersionAction, auth.AbortMultipartUploadAction, auth.BypassGovernanceRetentionAction:
		return capability.Delete
	case auth.GetBucketLocationAction, auth.GetBucketVersioningAction, auth.GetBucketObjectLockConfigurationAction, auth.GetBucketTaggingAction,
		auth.GetBucketCorsAction, auth.GetBucketAclAction, auth.GetBucketOwnershipControlsAction, auth.GetLifecycleConfigurationAction,
		auth.GetEncryptionConfigurationAction:
		return lookUp
	}
	return capability.Manage
}

// lookUp is what every key may that reaches the bucket: clients ask for a
// bucket's settings before they read or write in it.
const lookUp capability.Op = 0

// BucketOwner is the account of the node, whoever makes a bucket.
func (i *iam) BucketOwner() auth.Account { return auth.Account{Access: i.owner, Role: auth.RoleAdmin} }

// GetUserAccount finds a key, for the gateway's checks of names.
func (i *iam) GetUserAccount(access string) (auth.Account, error) {
	if access == i.owner {
		return i.BucketOwner(), nil
	}
	c, err := i.keys.holder(access, "")
	if err != nil {
		return auth.Account{}, auth.ErrNoSuchUser
	}
	return i.account(access, "", c.Limits()), nil
}

// ResolveAccounts lists those of the access keys that aren't there.
func (i *iam) ResolveAccounts(list []string) (missing []string, err error) {
	for _, access := range list {
		if _, err := i.GetUserAccount(access); err != nil {
			missing = append(missing, access)
		}
	}
	return missing, nil
}

// The gateway's own administration of users is off: `hearth s3 keys` does it.

func (*iam) CreateAccount(auth.Account) error { return s3err.GetAPIError(s3err.ErrNotImplemented) }

func (*iam) UpdateUserAccount(string, auth.MutableProps) error {
	return s3err.GetAPIError(s3err.ErrNotImplemented)
}

func (*iam) DeleteUserAccount(string) error { return s3err.GetAPIError(s3err.ErrNotImplemented) }

func (*iam) ListUserAccounts() ([]auth.Account, error) {
	return nil, s3err.GetAPIError(s3err.ErrNotImplemented)
}

func (*iam) Shutdown() error { return nil }
