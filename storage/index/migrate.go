package index

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// The tables of schema version 1.
var summed1 = []table{
	{"buckets", "name, created", "buckets"},
	{"objects", "bucket, key, version, device, size, created, etag, type, extra, manifest", "objects"},
	{"manifests", "id, body", "manifests"},
	{"slabs", "id, refs, body", "slabs"},
	{"hosts", "id, address", "hosts"},
	{"placements", "slab, shard, host, lease", "placements"},
	{"pending", "slab, shard", "pending"},
	{"intents", "host, lease, root, size", "shards"},
	{"removals", "host, lease, root, size", "shards"},
}

// migrate turns a file of schema version 1 into one of version 2, in one
// transaction. A copy of the old one stays beside it. Everything goes into the
// log too: other devices know nothing of it yet.
func (x *Index) migrate() error {
	db, err := x.connect(x.c.Path, "rw")
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if _, err := db.Exec(`PRAGMA wal_checkpoint(TRUNCATE)`); err != nil {
		return failed("migrate index "+x.c.Path, err)
	}
	if err := backUp(x.c.Path, x.c.Path+".v1"); err != nil {
		return fmt.Errorf("migrate index: keep a copy: %w", err)
	}
	t, err := x.newTx(context.Background(), db)
	if err != nil {
		return failed("migrate index "+x.c.Path, err)
	}
	defer t.close()
	if err := t.exec("BEGIN IMMEDIATE"); err != nil {
		return failed("migrate index "+x.c.Path, err)
	}
	err = t.migrate()
	if err == nil {
		err = t.exec("COMMIT")
	}
	if err != nil {
		t.rollback()
		return failed("migrate index "+x.c.Path, err)
	}
	x.c.Log.Info("index migrated", "file", x.c.Path, "schema", schemaVersion)
	return nil
}

// backUp copies a file under a name that it has only when it is whole.
func backUp(from, to string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	if err == nil {
		err = dst.Sync()
	}
	if err := errors.Join(err, dst.Close()); err != nil {
		return err
	}
	if err := os.Rename(to+".new", to); err != nil {
		return err
	}
	return syncDir(filepath.Dir(to))
}

// renamed are the tables of version 1 that have another shape in version 2.
var renamed = []string{"buckets", "objects", "slabs", "placements"}

// kept are those that stay as they are.
var kept = []string{"meta", "manifests", "hosts", "pending", "uploads", "intents", "removals"}

func (t *tx) migrate() error {
	for _, name := range append(renamed, kept...) {
		if _, err := t.conn.ExecContext(context.Background(), "ALTER TABLE "+name+" RENAME TO old_"+name); err != nil {
			return err
		}
	}
	for _, name := range []string{"placements_host", "pending_next", "removals_next"} {
		if _, err := t.conn.ExecContext(context.Background(), "DROP INDEX "+name); err != nil {
			return err
		}
	}
	if _, err := t.conn.ExecContext(context.Background(), schema); err != nil {
		return err
	}
	for _, name := range kept {
		if err := t.exec(fmt.Sprintf("INSERT INTO %s SELECT * FROM old_%[1]s", name)); err != nil {
			return err
		}
	}
	if err := t.exec(`INSERT INTO meta VALUES ('flushed', 0)`); err != nil {
		return err
	}
	if err := t.exec(`UPDATE meta SET value = ? WHERE name = 'schema'`, schemaVersion); err != nil {
		return err
	}
	for _, f := range []func() error{t.migrateBuckets, t.migrateSlabs, t.migrateObjects, t.keepClock} {
		if err := f(); err != nil {
			return err
		}
	}
	for _, name := range append(renamed, kept...) {
		if _, err := t.conn.ExecContext(context.Background(), "DROP TABLE old_"+name); err != nil {
			return err
		}
	}
	_, err := t.conn.ExecContext(context.Background(), fmt.Sprintf("PRAGMA user_version = %d", schemaVersion))
	return err
}

func (t *tx) migrateBuckets() error {
	var rows []*bucketRow
	err := t.each(`SELECT name, created FROM old_buckets ORDER BY name`, nil, func(scan func(...any) error) error {
		var b bucketRow
		rows = append(rows, &b)
		return scan(&b.name, &b.created)
	})
	for i := 0; i < len(rows) && err == nil; i++ {
		err = t.writeBucket(rows[i])
	}
	return err
}

// migrateSlabs keeps what slabs count; their places get this moment's stamp.
func (t *tx) migrateSlabs() error {
	ids, err := t.words(`SELECT hex(id) FROM old_slabs ORDER BY id`)
	if err != nil {
		return err
	}
	for _, word := range ids {
		id, err := parseSlab(word)
		if err != nil {
			return err
		}
		at := t.tick()
		s := slabRow{clock: at.clock, device: column(at.device)}
		if _, err := t.row(`SELECT refs, body FROM old_slabs WHERE id = ?`, []any{id[:]}, &s.refs, &s.body); err != nil {
			return err
		}
		sealed, err := DecodeSlab(s.body)
		if err != nil {
			return err
		}
		at2 := make([]Place, sealed.Class.N)
		err = t.each(`SELECT p.shard, h.address, p.lease FROM old_placements p JOIN hosts h ON h.id = p.host WHERE p.slab = ?`, []any{id[:]},
			func(scan func(...any) error) error {
				var shard, lease int64
				var address string
				if err := scan(&shard, &address, &lease); err != nil {
					return err
				}
				if shard >= 0 && shard < int64(len(at2)) {
					at2[shard] = Place{address, uint64(lease)}
				}
				return nil
			})
		if err != nil {
			return err
		}
		if err := t.putSlab(id, &s); err != nil {
			return err
		}
		for i, p := range at2 {
			if err := t.setPlace(id, int64(i), p, at); err != nil {
				return err
			}
		}
		if err := t.noteSlab(id, &s); err != nil {
			return err
		}
	}
	return nil
}

// migrateObjects makes each object its key's null version. A version counted
// milliseconds in its upper bits; all of them stay in their order.
func (t *tx) migrateObjects() error {
	var rows []*version
	err := t.each(`SELECT bucket, key, version, device, size, created, etag, type, extra, manifest FROM old_objects ORDER BY version`, nil,
		func(scan func(...any) error) error {
			r := &version{null: 1, current: 1}
			rows = append(rows, r)
			var device int64
			err := scan(&r.bucket, &r.key, &r.clock, &device, &r.size, &r.created, &r.etag, &r.typ, &r.extra, &r.manifest)
			r.device = column(uint64(device))
			return err
		})
	if err != nil {
		return err
	}
	none, err := encodeAttrs(Attrs{})
	if err != nil {
		return err
	}
	last := int64(0)
	for _, r := range rows {
		r.clock = max(last+1, r.clock>>16*1000)
		last = r.clock
		r.attrs, r.aclock, r.adevice = none, r.clock, r.device
		r.mclock, r.mdevice = r.clock, r.device
		if err := t.put(r); err != nil {
			return err
		}
		m, err := t.manifest(r.manifest)
		if err != nil {
			return err
		}
		body, err := m.Encode()
		if err != nil {
			return err
		}
		if err := t.note(encodeVersion(r, body)); err != nil {
			return err
		}
	}
	t.x.clock = max(t.x.clock, last)
	return nil
}
