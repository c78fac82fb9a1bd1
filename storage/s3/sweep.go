package s3

import (
	"context"
	"errors"
	"time"

	"hearth/core/fault"
	"hearth/storage/index"
)

// sweepEvery is the pause between two looks for what has grown old.
const sweepEvery = time.Hour

// tend does what the buckets' lifecycles say, until ctx ends.
func (d *Door) tend(ctx context.Context) {
	for {
		if err := d.Sweep(ctx); err != nil && ctx.Err() == nil {
			d.c.Log.Warn("lifecycle of buckets", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(sweepEvery):
		}
	}
}

// Sweep removes what the lifecycles of all buckets say has had its time. What is
// locked stays.
func (d *Door) Sweep(ctx context.Context) error {
	list, err := d.c.Index.Buckets(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, k := range list {
		docs, err := d.c.Index.BucketDocs(ctx, k.Name)
		if err != nil || docs[docLifecycle] == nil {
			errs = append(errs, err)
			continue
		}
		l, err := parseLifecycle(docs[docLifecycle])
		if err != nil {
			errs = append(errs, err)
			continue
		}
		s := sweep{d: d, ctx: ctx, bucket: k, now: d.c.Now().Unix()}
		for i := range l.Rules {
			if r := &l.Rules[i]; r.Status == "Enabled" {
				errs = append(errs, s.objects(r), s.uploads(r))
			}
		}
	}
	return errors.Join(errs...)
}

// A sweep goes through one bucket at one time.
type sweep struct {
	d      *Door
	ctx    context.Context
	bucket index.Bucket
	now    int64
}

// objects removes versions by a rule. They come by key, the newest first.
func (s *sweep) objects(r *lifecycleRule) error {
	if r.Expiration == nil && r.Noncurrent == nil {
		return nil
	}
	var group []index.Object // of one key
	for l := (index.VersionListing{Prefix: r.terms().Prefix}); ; {
		p, err := s.d.c.Index.ListVersions(s.ctx, s.bucket.Name, l)
		if err != nil {
			return err
		}
		for _, o := range p.Versions {
			if len(group) > 0 && group[0].Key != o.Key {
				if err := s.versions(r, group); err != nil {
					return err
				}
				group = group[:0]
			}
			group = append(group, o)
		}
		if l.AfterKey, l.AfterVersion = p.NextKey, p.NextVersion; p.NextKey == "" {
			return s.versions(r, group)
		}
	}
}

// versions judges all versions of one key.
func (s *sweep) versions(r *lifecycleRule, group []index.Object) error {
	if len(group) == 0 {
		return nil
	}
	newest := group[0]
	switch {
	case r.ended(newest, s.now):
		// The condition keeps what was put meanwhile, also if it is the same.
		if err := s.remove(newest.Ref, index.Condition{Version: newest.At().Version}); err != nil {
			return err
		}
	case newest.Marker && len(group) == 1 && r.Expiration != nil && r.Expiration.Marker:
		if err := s.remove(newest.At(), index.Condition{}); err != nil {
			return err
		}
	}
	if r.Noncurrent == nil {
		return nil
	}
	for i, o := range group[1:] {
		since := group[i].Created // it isn't the newest from then on
		if i >= r.Noncurrent.Newer && days(r.Noncurrent.Days, since, s.now) && r.terms().holds(o) {
			if err := s.remove(o.At(), index.Condition{}); err != nil {
				return err
			}
		}
	}
	return nil
}

// remove takes one away; what is locked, changed or gone meanwhile is passed over.
func (s *sweep) remove(at index.Ref, c index.Condition) error {
	_, err := s.d.c.Files.Remove(s.ctx, at, index.RemoveOptions{If: c})
	switch fault.CodeOf(err) {
	case fault.Locked, fault.Exists, fault.NotFound:
		return nil
	}
	if err == nil {
		s.d.c.Log.Info("removed by the bucket's lifecycle", "name", at, "version", at.Version)
	}
	return err
}

// uploads gives up those that nobody has completed for long.
func (s *sweep) uploads(r *lifecycleRule) error {
	if r.Abort == nil {
		return nil
	}
	key, id := "", ""
	for {
		p, err := s.d.c.Index.Uploads(s.ctx, s.bucket.Name, r.terms().Prefix, key, id, "", index.MaxList)
		if err != nil {
			return err
		}
		for _, u := range p.Uploads {
			if !days(r.Abort.Days, u.Created, s.now) {
				continue
			}
			if err := s.d.c.Index.AbortUpload(s.ctx, u.Ref, u.ID); err != nil && fault.CodeOf(err) != fault.NotFound {
				return err
			}
		}
		if key, id = p.NextKey, p.NextID; key == "" {
			return nil
		}
	}
}
