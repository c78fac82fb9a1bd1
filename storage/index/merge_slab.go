package index

// otherRepairs is for how many seconds a device leaves a shard without a place to
// the one that said so.
const otherRepairs = 3600

func (s *slabChange) merge(t *tx) error {
	row, found, err := t.slabRow(s.id)
	if err != nil {
		return err
	}
	if !found || row.refs == 0 && len(row.body) == 0 {
		if gone, err := t.isGone(s.id); err != nil || gone {
			return err
		}
	}
	if len(row.body) == 0 {
		row.local, row.clock, row.device, row.body = 0, s.clock, s.device, s.body
		if err := t.putSlab(s.id, &row); err != nil {
			return err
		}
	}
	sealed, err := DecodeSlab(row.body)
	if err != nil {
		return err
	}
	for i := range min(len(s.at), sealed.Class.N) {
		if err := t.mergePlace(s.id, int64(i), s.at[i]); err != nil {
			return err
		}
	}
	return t.awaitOthers(s.id)
}

func (t *tx) isGone(id SlabID) (gone bool, err error) {
	_, err = t.row(`SELECT EXISTS (SELECT 1 FROM gone WHERE slab = ?)`, []any{id[:]}, &gone)
	return gone, err
}

func (p *placementChange) merge(t *tx) error {
	_, found, err := t.slabRow(p.id)
	if err != nil {
		return err
	}
	if !found { // the slab may come later; a place isn't one without it
		if gone, err := t.isGone(p.id); err != nil || gone {
			return err
		}
	}
	if err := t.mergePlace(p.id, p.shard, p.placed); err != nil {
		return err
	}
	return t.awaitOthers(p.id)
}

// mergePlace takes the last writer's word for where a shard lies. A shard that
// this device has placed and that isn't wanted there any more is removed by it.
func (t *tx) mergePlace(id SlabID, shard int64, p placed) error {
	var mine placed
	found := false
	err := t.places(id, func(i int64, have placed) error {
		if i == shard {
			mine, found = have, true
		}
		return nil
	})
	if err != nil {
		return err
	}
	at, before := stamp{p.clock, deviceOf(p.device)}, stamp{mine.clock, deviceOf(mine.device)}
	if found && !before.less(at) {
		return nil
	}
	if err := t.setPlace(id, shard, Place{p.host, p.lease}, at); err != nil {
		return err
	}
	if err := t.touch(id); err != nil {
		return err
	}
	old, now := Place{mine.host, mine.lease}, Place{p.host, p.lease}
	if mine.host != "" && old != now && before.device == t.x.c.Device {
		if sh, known, err := t.shard(id, shard, old); err != nil || !known {
			return err
		} else if err := t.remove(sh, t.x.c.Now().Unix()+t.x.grace.Load()+otherRepairs); err != nil {
			return err
		}
	}
	if now == (Place{}) {
		return nil
	}
	sh, known, err := t.shard(id, shard, now)
	if err != nil || !known {
		return err
	}
	return t.keep(id, int(shard), sh)
}

// awaitOthers notes the shards of a slab that have no place: should the device that
// knows why not find them one, this one will.
func (t *tx) awaitOthers(id SlabID) error {
	s, found, err := t.slabRow(id)
	if err != nil || !found || len(s.body) == 0 {
		return err
	}
	slab, err := t.slab(id)
	if err != nil {
		return err
	}
	next := t.x.c.Now().Unix() + otherRepairs
	for i, p := range slab.At {
		if p != (Place{}) {
			continue
		}
		if err := t.exec(`INSERT OR IGNORE INTO pending VALUES (?, ?, 0, ?, ?)`, id[:], i, next, rowSum("pending", id[:], int64(i))); err != nil {
			return err
		}
	}
	return nil
}

// A slab that this device knows a use of stays, whoever gave it up.
func (g *goneChange) merge(t *tx) error {
	s, found, err := t.slabRow(g.id)
	if err != nil || found && s.refs > 0 {
		return err
	}
	var clock, device int64
	had, err := t.row(`SELECT clock, device FROM gone WHERE slab = ?`, []any{g.id[:]}, &clock, &device)
	if err != nil || had && !(stamp{clock, deviceOf(device)}).less(g.by()) {
		return err
	}
	return t.forgetSlab(g, nil)
}
