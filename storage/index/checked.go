package index

import (
	"math"

	"hearth/core/fault"
)

// What a change says is checked before any change of its lot is merged.

func (b *bucketRow) by() stamp       { return b.stamp() }
func (d *docRow) by() stamp          { return d.stamp() }
func (r *versionChange) by() stamp   { return r.moved() }
func (m *tomb) by() stamp            { return stamp{m.bclock, deviceOf(m.bdev)} }
func (a *attrsChange) by() stamp     { return stamp{a.aclock, deviceOf(a.adevice)} }
func (s *slabChange) by() stamp      { return stamp{s.clock, deviceOf(s.device)} }
func (p *placementChange) by() stamp { return stamp{p.clock, deviceOf(p.device)} }
func (g *goneChange) by() stamp      { return stamp{g.clock, deviceOf(g.device)} }

func (b *bucketRow) check() error {
	if b.versioning > int64(Suspended) {
		return fault.New(fault.BadFrame, "bucket %q: versioning %d", b.name, b.versioning)
	}
	return checkLogged(b.name)
}

func (d *docRow) check() error {
	if !docName.MatchString(d.name) || d.gone != 0 && len(d.body) > 0 {
		return fault.New(fault.BadFrame, "document %q of bucket %q", d.name, d.bucket)
	}
	return checkLogged(d.bucket)
}

// checkName takes the names of what is in the log, never of what is hidden.
func checkName(bucket, key string) error {
	if err := checkLogged(bucket); err != nil {
		return err
	}
	return CheckKey(key)
}

func (r *versionChange) check() error {
	if err := checkName(r.bucket, r.key); err != nil {
		return err
	}
	if r.clock <= 0 || r.mclock < r.clock || r.mclock > math.MaxInt64/2 {
		return fault.New(fault.BadFrame, "%s of %d has a manifest of %d", r.ref(), r.clock, r.mclock)
	}
	if _, err := decodeExtra(r.extra); err != nil {
		return err
	}
	if _, err := decodeAttrs(r.attrs); err != nil {
		return err
	}
	if r.marker != 0 {
		if len(r.manifest) > 0 {
			return fault.New(fault.BadFrame, "a marker with contents")
		}
		return nil
	}
	m, err := DecodeManifest(r.manifest)
	if err == nil && m.Journal != (Kept{}) {
		err = fault.New(fault.BadFrame, "%s lies in another device's journal", r.ref())
	}
	return err
}

func (m *tomb) check() error {
	if m.clock <= 0 {
		return fault.New(fault.BadFrame, "a tomb for version %d", m.clock)
	}
	return checkName(m.bucket, m.key)
}

func (a *attrsChange) check() error {
	if a.clock <= 0 || a.floor < 0 {
		return fault.New(fault.BadFrame, "attributes of version %d, retained to %d", a.clock, a.floor)
	}
	if _, err := decodeAttrs(a.attrs); err != nil {
		return err
	}
	return checkName(a.bucket, a.key)
}

func (s *slabChange) check() error {
	sealed, err := DecodeSlab(s.body)
	if err != nil {
		return err
	}
	if len(s.at) != sealed.Class.N {
		return fault.New(fault.BadFrame, "slab %s: %d places for %d shards", s.id, len(s.at), sealed.Class.N)
	}
	for _, p := range s.at {
		if err := p.check(); err != nil {
			return err
		}
	}
	return nil
}

func (p *placed) check() error {
	if p.clock <= 0 || p.host == "" && p.lease != 0 {
		return fault.New(fault.BadFrame, "a shard's place: host %q, lease %d, version %d", p.host, p.lease, p.clock)
	}
	return nil
}

func (p *placementChange) check() error {
	if p.shard >= 64 {
		return fault.New(fault.BadFrame, "shard %d of slab %s", p.shard, p.id)
	}
	return p.placed.check()
}

func (g *goneChange) check() error { return nil }
