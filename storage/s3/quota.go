package s3

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/versity/versitygw/s3err"

	"hearth/storage/index"
)

// recount is after how long what others stored meanwhile is counted too.
const recount = 5 * time.Minute

// quotas know how much lies in what a key with a quota reaches: every version,
// and the parts of unfinished uploads. What is on its way counts from its
// announcement on, so that two puts at a time don't pass together.
type quotas struct {
	index Index
	now   func() time.Time

	mu   sync.Mutex
	used map[scope]*usage
}

// A scope is what a key reaches.
type scope struct{ bucket, prefix string }

type usage struct {
	mu       sync.Mutex
	stored   int64
	reserved int64
	counted  time.Time
}

func newQuotas(x Index, now func() time.Time) *quotas {
	return &quotas{index: x, now: now, used: make(map[scope]*usage)}
}

// A room is what a put may take; nil is without limit.
type room struct {
	u    *usage
	size int64
}

// reserve makes room for size bytes within the quota of the request's key.
func (b *backend) reserve(ctx context.Context, size int64) (*room, error) {
	l, signed := b.holder(ctx)
	if !signed || l.Quota == math.MaxInt64 {
		return nil, nil
	}
	return b.quotas.reserve(b.ctx, scope{l.Bucket, l.Prefix}, l.Quota, size)
}

func (q *quotas) reserve(ctx context.Context, s scope, quota, size int64) (*room, error) {
	q.mu.Lock()
	u := q.used[s]
	if u == nil {
		u = &usage{}
		q.used[s] = u
	}
	q.mu.Unlock()
	u.mu.Lock()
	defer u.mu.Unlock()
	fits := func() bool { return size >= 0 && u.stored+u.reserved <= quota && size <= quota-u.stored-u.reserved }
	if q.now().Sub(u.counted) > recount || !fits() {
		n, err := q.count(ctx, s)
		if err != nil {
			return nil, s3err.GetAPIError(s3err.ErrInternalError)
		}
		u.stored, u.counted = n, q.now()
	}
	if !fits() {
		return nil, s3err.GetAPIError(s3err.ErrQuotaExceeded)
	}
	u.reserved += size
	return &room{u, size}, nil
}

// settle ends a reservation: n bytes are stored, or nothing.
func (r *room) settle(stored bool, n int64) {
	if r == nil {
		return
	}
	r.u.mu.Lock()
	defer r.u.mu.Unlock()
	r.u.reserved -= r.size
	if stored {
		r.u.stored += n
	}
}

// count adds up what lies in a scope.
func (q *quotas) count(ctx context.Context, s scope) (total int64, err error) {
	buckets := []string{s.bucket}
	if s.bucket == "" {
		list, err := q.index.Buckets(ctx)
		if err != nil {
			return 0, err
		}
		buckets = buckets[:0]
		for _, k := range list {
			buckets = append(buckets, k.Name)
		}
	}
	for _, k := range buckets {
		found, err := q.index.HasBucket(ctx, k)
		if err != nil {
			return 0, err
		}
		if !found {
			continue
		}
		n, err := q.countBucket(ctx, k, s.prefix)
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}

func (q *quotas) countBucket(ctx context.Context, bucket, prefix string) (total int64, err error) {
	for l := (index.VersionListing{Prefix: prefix}); ; {
		p, err := q.index.ListVersions(ctx, bucket, l)
		if err != nil {
			return 0, err
		}
		for _, o := range p.Versions {
			total += o.Size
		}
		if l.AfterKey, l.AfterVersion = p.NextKey, p.NextVersion; p.NextKey == "" {
			break
		}
	}
	key, id := "", ""
	for {
		p, err := q.index.Uploads(ctx, bucket, prefix, key, id, "", index.MaxList)
		if err != nil {
			return 0, err
		}
		for _, u := range p.Uploads {
			n, err := q.countUpload(ctx, u)
			if err != nil {
				return 0, err
			}
			total += n
		}
		if key, id = p.NextKey, p.NextID; key == "" {
			return total, nil
		}
	}
}

func (q *quotas) countUpload(ctx context.Context, u index.Upload) (total int64, err error) {
	for after := 0; ; {
		parts, err := q.index.Parts(ctx, u.Ref, u.ID, after, index.MaxList)
		if err != nil {
			return 0, err
		}
		for _, p := range parts {
			total += p.Size
			after = p.Number
		}
		if len(parts) < index.MaxList {
			return total, nil
		}
	}
}
