package node

import (
	"context"

	"hearth/api"
	"hearth/storage/index"
)

// Check asks the hosts of a page of a bucket's versions what they hold.
func (r storageRole) Check(ctx context.Context, bucket string, q api.CheckQuery) (api.Findings, error) {
	found, next, err := r.b.files.CheckAll(ctx, bucket, index.VersionListing{
		Prefix: q.Prefix, AfterKey: q.After, AfterVersion: q.AfterVersion, Limit: q.Limit,
	}, q.Samples)
	out := api.Findings{Findings: []api.Finding{}, Next: next.AfterKey, NextVersion: next.AfterVersion}
	for _, f := range found {
		out.Findings = append(out.Findings, api.Finding{
			Bucket: f.Bucket, Key: f.Key, Version: f.VersionID, Size: f.Size, State: string(f.State), Slabs: f.Slabs,
			Need: f.Need, Held: f.Held, Missing: f.Missing, Silent: f.Silent, Pending: f.Pending, Detail: f.Why,
		})
	}
	return out, err
}
