package s3

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/versity/versitygw/s3err"

	"hearth/storage/index"
)

const (
	recount   = 5 * time.Minute // after which what others stored meanwhile is counted too
	maxScopes = 1024            // that are remembered while nothing is on its way to them
)

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
	users int // rooms, and those who ask for one; quotas.mu

	mu       sync.Mutex
	stored   int64
	reserved int64
	counted  time.Time
}

func newQuotas(x Index, now func() time.Time) *quotas {
	return &quotas{index: x, now: now, used: make(map[scope]*usage)}
}

// A room is what a put may take of one quota.
type room struct {
	q    *quotas
	u    *usage
	size int64
}

// rooms are what a put takes of every quota it is under; none is without limit.
type rooms []room

// settle ends the reservations: n bytes are stored, or nothing.
func (r rooms) settle(stored bool, n int64) {
	for _, one := range r {
		one.settle(stored, n)
	}
}

// reserve makes room for size bytes within the quotas of the request's key.
func (b *backend) reserve(ctx context.Context, size int64) (rooms, error) {
	c, signed, err := b.holder(ctx)
	if !signed || err != nil {
		return nil, err
	}
	var out rooms
	for _, l := range c.Quotas() {
		r, err := b.quotas.reserve(b.ctx, scope{l.Bucket, l.Prefix}, l.Quota, size)
		if err != nil {
			out.settle(false, 0)
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

func (q *quotas) reserve(ctx context.Context, s scope, quota, size int64) (r room, err error) {
	u := q.use(s)
	defer func() {
		if err != nil {
			q.leave(u)
		}
	}()
	u.mu.Lock()
	defer u.mu.Unlock()
	fits := func() bool { return size >= 0 && u.stored+u.reserved <= quota && size <= quota-u.stored-u.reserved }
	if q.now().Sub(u.counted) > recount || !fits() {
		n, err := q.count(ctx, s)
		if err != nil {
			return room{}, s3err.GetAPIError(s3err.ErrInternalError)
		}
		u.stored, u.counted = n, q.now()
	}
	if !fits() {
		return room{}, s3err.GetAPIError(s3err.ErrQuotaExceeded)
	}
	u.reserved += size
	return room{q, u, size}, nil
}

// use finds what is known of a scope. Scopes come with tokens that holders make
// as they like, so those that nobody uses are forgotten when there are many.
func (q *quotas) use(s scope) *usage {
	q.mu.Lock()
	defer q.mu.Unlock()
	u := q.used[s]
	if u == nil {
		if len(q.used) >= maxScopes {
			maps.DeleteFunc(q.used, func(_ scope, u *usage) bool { return u.users == 0 })
		}
		u = &usage{}
		q.used[s] = u
	}
	u.users++
	return u
}

func (q *quotas) leave(u *usage) {
	q.mu.Lock()
	defer q.mu.Unlock()
	u.users--
}

func (r room) settle(stored bool, n int64) {
	defer r.q.leave(r.u)
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
