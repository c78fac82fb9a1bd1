package s3

import (
	"context"
	"encoding/xml"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/valyala/fasthttp"
	"github.com/versity/versitygw/s3err"

	"hearth/core/capability"
)

// GetObjectAcl says that the node's account may do everything.
//
//lint:ignore ST1003 the name is the gateway's
func (b *backend) GetObjectAcl(ctx context.Context, in *s3.GetObjectAclInput) (*s3.GetObjectAclOutput, error) {
	at := ref(in.Bucket, in.Key, in.VersionId)
	if err := b.may(ctx, capability.Read, at.Bucket, at.Key); err != nil {
		return nil, err
	}
	if _, err := b.c.Index.Head(b.ctx, at); err != nil {
		return nil, b.fail(err, at)
	}
	owner := &types.Owner{ID: ptr(b.c.Owner), DisplayName: ptr(b.c.Owner)}
	return &s3.GetObjectAclOutput{Owner: owner, Grants: []types.Grant{{
		Permission: types.PermissionFullControl,
		Grantee:    &types.Grantee{Type: types.TypeCanonicalUser, ID: owner.ID, DisplayName: owner.ID},
	}}}, nil
}

// PutObjectAcl takes the access list that every object has, which clients send
// after a copy, and refuses all others: access lists are off, as they are in new
// buckets of S3.
//
//lint:ignore ST1003 the name is the gateway's
func (b *backend) PutObjectAcl(ctx context.Context, in *s3.PutObjectAclInput) error {
	at := ref(in.Bucket, in.Key, in.VersionId)
	if err := b.may(ctx, capability.Write, at.Bucket, at.Key); err != nil {
		return err
	}
	if _, err := b.c.Index.Head(b.ctx, at); err != nil {
		return b.fail(err, at)
	}
	granted := str(in.GrantFullControl) + str(in.GrantRead) + str(in.GrantReadACP) + str(in.GrantWrite) + str(in.GrantWriteACP)
	switch in.ACL {
	case types.ObjectCannedACLPrivate, types.ObjectCannedACLBucketOwnerFullControl:
		if granted == "" {
			return nil
		}
	case "":
		if r, ok := ctx.(*fasthttp.RequestCtx); ok && granted == "" && ownersAlone(r.Request.Body(), b.c.Owner) {
			return nil
		}
	}
	return s3err.GetAPIError(s3err.ErrAclNotSupported)
}

// ownersAlone says whether an access list is the owner's and gives nobody else
// anything. The gateway tells one without grants, so clients send one back.
func ownersAlone(body []byte, owner string) bool {
	var list struct {
		Owner  string `xml:"Owner>ID"`
		Grants []struct {
			Grantee struct {
				ID  string `xml:"ID"`
				URI string `xml:"URI"`
			} `xml:"Grantee"`
			Permission string `xml:"Permission"`
		} `xml:"AccessControlList>Grant"`
	}
	if xml.Unmarshal(body, &list) != nil || list.Owner != owner {
		return false
	}
	for _, g := range list.Grants {
		if g.Grantee.ID != owner || g.Grantee.URI != "" || g.Permission != string(types.PermissionFullControl) {
			return false
		}
	}
	return true
}
