package index

import (
	"time"

	"hearth/core/fault"
	"hearth/storage/seal"
)

// After so many seconds more a device removes a slab whose last reference another
// device took away, should that one never come to it: first the one that made the
// slab, then any.
const (
	makerWaits = 3600
	othersWait = 7 * 24 * 3600
)

// A slabRow is a row of table slabs as it stands. Its body is empty as long as
// only references to it are known.
type slabRow struct {
	refs, local   int64 // local: used by hidden buckets only, so other devices don't know it
	clock, device int64
	body, sum     []byte
}

const slabColumns = `refs, local, clock, device, body, sum`

func (s *slabRow) into() []any {
	return []any{&s.refs, &s.local, &s.clock, &s.device, &s.body, &s.sum}
}

func (s *slabRow) columns(id SlabID) []any {
	return []any{id[:], s.refs, s.local, s.clock, s.device, s.body}
}

func (t *tx) slabRow(id SlabID) (s slabRow, found bool, err error) {
	found, err = t.row(`SELECT `+slabColumns+` FROM slabs WHERE id = ?`, []any{id[:]}, s.into()...)
	if err == nil && found {
		err = verify(s.sum, "slabs", s.columns(id)...)
	}
	if s.body == nil {
		s.body = []byte{}
	}
	return s, found, err
}

// putSlab writes a row; the slab is one that watchers look at anew.
func (t *tx) putSlab(id SlabID, s *slabRow) error {
	t.x.watched++
	return t.exec(`INSERT OR REPLACE INTO slabs (id, refs, local, clock, device, body, sum, due, seq) VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?)`,
		append(s.columns(id), rowSum("slabs", s.columns(id)...), t.x.watched)...)
}

// count writes how many use a slab; with none it is due to go at unix second due.
func (t *tx) count(id SlabID, s *slabRow, due int64) error {
	return t.exec(`UPDATE slabs SET refs = ?, sum = ?, due = ? WHERE id = ?`, s.refs, rowSum("slabs", s.columns(id)...), due, id[:])
}

// touch has watchers look at a slab anew.
func (t *tx) touch(id SlabID) error {
	t.x.watched++
	return t.exec(`UPDATE slabs SET seq = ? WHERE id = ?`, t.x.watched, id[:])
}

// use counts one more manifest that uses a slab. A public one makes it known to
// other devices.
func (t *tx) use(id SlabID, public bool) error {
	s, found, err := t.slabRow(id)
	if err != nil {
		return err
	}
	if !found {
		if t.merging == nil {
			return fault.New(fault.NotFound, "there is no slab %s", id)
		}
		return t.putSlab(id, &slabRow{refs: 1, body: []byte{}, device: column(0)})
	}
	s.refs++
	if public && s.local != 0 {
		s.local = 0
		if err := t.putSlab(id, &s); err != nil {
			return err
		}
		return t.noteSlab(id, &s)
	}
	return t.count(id, &s, 0)
}

// unuse counts one less. When nobody is left, its shards are to be removed from
// their hosts: at once, or after the time in which another device may still tell
// of an object that uses it.
func (t *tx) unuse(id SlabID) error {
	s, found, err := t.slabRow(id)
	if err != nil {
		return err
	}
	if !found || s.refs <= 0 {
		return fault.New(fault.DamagedIndex, "slab %s is used more often than it counts", id)
	}
	s.refs--
	now, grace := t.x.c.Now().Unix(), t.x.grace.Load()
	switch {
	case s.refs > 0:
		return t.count(id, &s, 0)
	case t.merging != nil && deviceOf(s.device) == t.x.c.Device:
		return t.count(id, &s, now+grace+makerWaits)
	case t.merging != nil:
		return t.count(id, &s, now+grace+othersWait)
	case grace > 0:
		return t.count(id, &s, now+grace)
	}
	return t.bury(id, &s)
}

// bury has the shards of a slab that nobody uses removed from their hosts.
func (t *tx) bury(id SlabID, s *slabRow) error {
	if len(s.body) > 0 {
		slab, err := t.slab(id)
		if err != nil {
			return err
		}
		for i, p := range slab.At {
			if p == (Place{}) {
				continue
			}
			if err := t.remove(Shard{p, slab.Roots[i], slab.ShardSize}, 0); err != nil {
				return err
			}
		}
	}
	at := t.tick()
	g := goneChange{id: id, clock: at.clock, device: column(at.device)}
	if err := t.forgetSlab(&g, s); err != nil || s.local != 0 {
		return err
	}
	return t.note(encodeGone(&g))
}

// forgetSlab deletes a slab and keeps in mind that it is gone.
func (t *tx) forgetSlab(g *goneChange, s *slabRow) error {
	for _, q := range []string{
		`DELETE FROM placements WHERE slab = ?`, `DELETE FROM pending WHERE slab = ?`, `DELETE FROM slabs WHERE id = ?`,
	} {
		if err := t.exec(q, g.id[:]); err != nil {
			return err
		}
	}
	local := int64(0)
	if s != nil {
		local = s.local
	}
	return t.putGone(g, local)
}

func (t *tx) putGone(g *goneChange, local int64) error {
	t.x.watched++
	return t.exec(`INSERT OR REPLACE INTO gone (slab, local, clock, device, sum, seq) VALUES (?, ?, ?, ?, ?, ?)`,
		g.id[:], local, g.clock, g.device, rowSum("gone", g.id[:], local, g.clock, g.device), t.x.watched)
}

// remove notes a shard to be removed from its host, from unix second next on.
func (t *tx) remove(s Shard, next int64) error {
	host, err := t.host(s.Host)
	if err != nil {
		return err
	}
	return t.exec(`INSERT OR IGNORE INTO removals VALUES (?, ?, ?, ?, ?, 0, ?)`, host, int64(s.Lease), s.Root[:], s.Size, shardSum(host, s), next)
}

// shardSum is the checksum of an intent and of a removal.
func shardSum(host int64, s Shard) []byte {
	return rowSum("shards", host, int64(s.Lease), s.Root[:], s.Size)
}

// await notes that a shard has no place, from unix second next on.
func (t *tx) await(id SlabID, shard int, next int64) error {
	return t.exec(`INSERT OR REPLACE INTO pending VALUES (?, ?, 0, ?, ?)`, id[:], shard, next, rowSum("pending", id[:], int64(shard)))
}

// addSlab writes a slab without users, its places, and what is pending of it.
func (t *tx) addSlab(s PlacedSlab, public bool, now time.Time) error {
	if len(s.At) != s.Class.N || len(s.Roots) != s.Class.N {
		return fault.New(fault.BadRequest, "slab %s: %d places and %d roots for %d shards", s.ID, len(s.At), len(s.Roots), s.Class.N)
	}
	if _, found, err := t.slabRow(s.ID); err != nil || found {
		if found {
			err = fault.New(fault.Exists, "there is a slab %s already", s.ID)
		}
		return err
	}
	at := t.tick()
	row := slabRow{clock: at.clock, device: column(at.device), body: EncodeSlab(s.Slab.Slab)}
	if !public {
		row.local = 1
	}
	if _, err := DecodeSlab(row.body); err != nil {
		return err
	}
	if err := t.putSlab(s.ID, &row); err != nil {
		return err
	}
	for i, p := range s.At {
		if err := t.setPlace(s.ID, int64(i), p, at); err != nil {
			return err
		}
		if p == (Place{}) {
			if err := t.await(s.ID, i, now.Unix()); err != nil {
				return err
			}
			continue
		}
		if err := t.keep(s.ID, i, Shard{p, s.Roots[i], s.ShardSize}); err != nil {
			return err
		}
	}
	if !public {
		return nil
	}
	return t.noteSlab(s.ID, &row)
}

// noteSlab tells other devices of a slab and its places.
func (t *tx) noteSlab(id SlabID, s *slabRow) error {
	c, err := t.slabChange(id, s)
	if err != nil {
		return err
	}
	return t.note(encodeSlabChange(c))
}

// slabChange is a slab with the places of its shards and who wrote them.
func (t *tx) slabChange(id SlabID, s *slabRow) (*slabChange, error) {
	sealed, err := DecodeSlab(s.body)
	if err != nil {
		return nil, err
	}
	c := &slabChange{id: id, clock: s.clock, device: s.device, body: s.body, at: make([]placed, sealed.Class.N)}
	for i := range c.at {
		c.at[i] = placed{clock: s.clock, device: s.device}
	}
	return c, t.places(id, func(shard int64, p placed) error {
		if shard < 0 || shard >= int64(len(c.at)) {
			return fault.New(fault.DamagedIndex, "slab %s has no shard %d", id, shard)
		}
		c.at[shard] = p
		return nil
	})
}

// places calls f for what is known of the places of a slab's shards.
func (t *tx) places(id SlabID, f func(shard int64, p placed) error) error {
	return t.each(`SELECT p.shard, p.host, p.lease, p.clock, p.device, p.sum, coalesce(h.address, ''), coalesce(h.sum, x'')
		FROM placements p LEFT JOIN hosts h ON h.id = p.host WHERE p.slab = ?`, []any{id[:]}, func(scan func(...any) error) error {
		var shard, host, lease int64
		var p placed
		var sum, hostSum []byte
		if err := scan(&shard, &host, &lease, &p.clock, &p.device, &sum, &p.host, &hostSum); err != nil {
			return err
		}
		if err := verify(sum, "placements", id[:], shard, host, lease, p.clock, p.device); err != nil {
			return err
		}
		if host != 0 {
			if err := verify(hostSum, "hosts", host, p.host); err != nil {
				return err
			}
		}
		p.lease = uint64(lease)
		return f(shard, p)
	})
}

// setPlace writes where a shard lies from now on; the zero place is nowhere.
func (t *tx) setPlace(id SlabID, shard int64, p Place, at stamp) error {
	var host int64
	if p.Host != "" {
		var err error
		if host, err = t.host(p.Host); err != nil {
			return err
		}
	}
	device := column(at.device)
	return t.exec(`INSERT OR REPLACE INTO placements VALUES (?, ?, ?, ?, ?, ?, ?)`, id[:], shard, host, int64(p.Lease), at.clock, device,
		rowSum("placements", id[:], shard, host, int64(p.Lease), at.clock, device))
}

// place is setPlace for a slab that is known already, told to other devices.
func (t *tx) place(id SlabID, shard int, p Place) error {
	s, found, err := t.slabRow(id)
	if err != nil || !found {
		return err
	}
	at := t.tick()
	if err := t.setPlace(id, int64(shard), p, at); err != nil {
		return err
	}
	if err := t.touch(id); err != nil || s.local != 0 {
		return err
	}
	return t.note(encodePlacement(&placementChange{id, int64(shard), placed{p.Host, p.Lease, at.clock, column(at.device)}}))
}

// keep says that a shard is where it is wanted: it is no longer intended, nor to
// be removed, nor pending.
func (t *tx) keep(id SlabID, shard int, s Shard) error {
	host, err := t.host(s.Host)
	if err != nil {
		return err
	}
	for _, q := range []string{
		`DELETE FROM intents WHERE host = ? AND lease = ? AND root = ?`,
		`DELETE FROM removals WHERE host = ? AND lease = ? AND root = ?`,
	} {
		if err := t.exec(q, host, int64(s.Lease), s.Root[:]); err != nil {
			return err
		}
	}
	return t.exec(`DELETE FROM pending WHERE slab = ? AND shard = ?`, id[:], shard)
}

// sealed reads what a slab was sealed with, without the places of its shards.
func (t *tx) sealed(id SlabID) (seal.Slab, error) {
	s, found, err := t.slabRow(id)
	if err != nil {
		return seal.Slab{}, err
	}
	if !found {
		return seal.Slab{}, fault.New(fault.NotFound, "there is no slab %s", id)
	}
	if len(s.body) == 0 {
		return seal.Slab{}, fault.New(fault.NotFound, "slab %s isn't known yet: another device's changes have yet to come", id)
	}
	return DecodeSlab(s.body)
}

func (t *tx) slab(id SlabID) (*PlacedSlab, error) {
	sealed, err := t.sealed(id)
	if err != nil {
		return nil, err
	}
	s := &PlacedSlab{Slab: Slab{id, sealed}, At: make([]Place, sealed.Class.N)}
	return s, t.places(id, func(shard int64, p placed) error {
		if shard < 0 || shard >= int64(len(s.At)) {
			return fault.New(fault.DamagedIndex, "slab %s has no shard %d", id, shard)
		}
		s.At[shard] = Place{p.host, p.lease}
		return nil
	})
}

// shard is what a host knows a shard by, if the slab is known.
func (t *tx) shard(id SlabID, shard int64, p Place) (Shard, bool, error) {
	s, found, err := t.slabRow(id)
	if err != nil || !found || len(s.body) == 0 {
		return Shard{}, false, err
	}
	sealed, err := DecodeSlab(s.body)
	if err != nil || shard >= int64(len(sealed.Roots)) {
		return Shard{}, false, err
	}
	return Shard{p, sealed.Roots[shard], sealed.ShardSize}, true, nil
}
