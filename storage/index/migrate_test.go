package index

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"hearth/core/fault"
)

// The tables of schema version 1, as it was.
const schema1 = `
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE buckets (name TEXT PRIMARY KEY, created INTEGER NOT NULL, sum BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE objects (
	bucket TEXT NOT NULL, key TEXT NOT NULL,
	version INTEGER NOT NULL, device INTEGER NOT NULL,
	size INTEGER NOT NULL, created INTEGER NOT NULL,
	etag TEXT NOT NULL, type TEXT NOT NULL, extra BLOB NOT NULL,
	manifest INTEGER NOT NULL, sum BLOB NOT NULL,
	PRIMARY KEY (bucket, key)) WITHOUT ROWID;
CREATE TABLE manifests (id INTEGER PRIMARY KEY, body BLOB NOT NULL, sum BLOB NOT NULL);
CREATE TABLE slabs (id BLOB PRIMARY KEY, refs INTEGER NOT NULL, body BLOB NOT NULL, sum BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE hosts (id INTEGER PRIMARY KEY, address TEXT NOT NULL UNIQUE, sum BLOB NOT NULL);
CREATE TABLE placements (
	slab BLOB NOT NULL, shard INTEGER NOT NULL, host INTEGER NOT NULL, lease INTEGER NOT NULL,
	sum BLOB NOT NULL, PRIMARY KEY (slab, shard)) WITHOUT ROWID;
CREATE INDEX placements_host ON placements (host, lease);
CREATE TABLE pending (
	slab BLOB NOT NULL, shard INTEGER NOT NULL, tries INTEGER NOT NULL, next INTEGER NOT NULL,
	sum BLOB NOT NULL, PRIMARY KEY (slab, shard)) WITHOUT ROWID;
CREATE INDEX pending_next ON pending (next);
CREATE TABLE uploads (id INTEGER PRIMARY KEY, started INTEGER NOT NULL);
CREATE TABLE intents (
	upload INTEGER NOT NULL, host INTEGER NOT NULL, lease INTEGER NOT NULL, root BLOB NOT NULL, size INTEGER NOT NULL,
	sum BLOB NOT NULL, PRIMARY KEY (upload, host, lease, root)) WITHOUT ROWID;
CREATE TABLE removals (
	host INTEGER NOT NULL, lease INTEGER NOT NULL, root BLOB NOT NULL, size INTEGER NOT NULL,
	sum BLOB NOT NULL, tries INTEGER NOT NULL, next INTEGER NOT NULL, PRIMARY KEY (host, lease, root)) WITHOUT ROWID;
CREATE INDEX removals_next ON removals (next);
`

// old makes a file of schema version 1: a bucket with a copied object of one slab,
// of which a shard is pending, a tiny object, and a removal.
func old(t *testing.T, path string) PlacedSlab {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	exec := func(query string, args ...any) {
		t.Helper()
		if _, err := db.Exec(query, args...); err != nil {
			t.Fatal(err)
		}
	}
	insert := func(table, name string, columns ...any) {
		t.Helper()
		marks := ""
		for range columns {
			marks += "?, "
		}
		exec("INSERT INTO "+table+" VALUES ("+marks+"?)", append(columns, rowSum(name, columns...))...)
	}
	exec(`PRAGMA journal_mode = WAL`)
	exec(fmt.Sprintf(`PRAGMA application_id = %d`, applicationID))
	exec(`PRAGMA user_version = 1`)
	exec(schema1)
	exec(`INSERT INTO meta VALUES ('schema', 1), ('clock', 113249697792000005)`)
	insert("buckets", "buckets", "town", int64(1))
	s := newSlab(1, 3)
	body := EncodeSlab(s.Slab.Slab)
	insert("slabs", "slabs", s.ID[:], int64(2), body)
	for i := range 3 {
		insert("hosts", "hosts", int64(i+1), fmt.Sprintf("hearth1host%d", i))
		insert("placements", "placements", s.ID[:], int64(i), int64(i+1), int64(100+i))
	}
	exec(`INSERT INTO pending VALUES (?, 3, 5, 77, ?)`, s.ID[:], rowSum("pending", s.ID[:], int64(3)))
	root := make([]byte, 32)
	exec(`INSERT INTO removals VALUES (1, 100, ?, 512, ?, 2, 3)`, root, rowSum("shards", int64(1), int64(100), root, int64(512)))
	extra, err := encodeExtra(map[string]string{"a": "1"})
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range []Manifest{{Extents: []Extent{{s.ID, 0, 1000}}}, {Extents: []Extent{{s.ID, 0, 1000}}}, {Inline: []byte("tiny")}} {
		b, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		insert("manifests", "manifests", int64(i+1), b)
		insert("objects", "objects", "town", fmt.Sprint("key", i), int64(113249697792000000+i), int64(-5), m.Size(), int64(9), "etag", "type", extra, int64(i+1))
	}
	return s
}

func TestFilesOfVersionOneAreMigrated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index.db")
	s := old(t, path)
	for range 2 { // the second time it is of version 2
		x := open(t, path)
		for i, size := range []int64{1000, 1000, 4} {
			f, err := x.Get(t.Context(), Ref{Bucket: "town", Key: fmt.Sprint("key", i)})
			if err != nil {
				t.Fatal(err)
			}
			o := f.Object
			if o.Size != size || o.ETag != "etag" || o.Extra["a"] != "1" || !o.Null || !o.Latest || o.Device != 1<<64-5 || o.Version/1e9 != 1728053 {
				t.Error(show(o))
			}
			if i < 2 && fmt.Sprint(*f.Slabs[s.ID]) != fmt.Sprint(s) {
				t.Errorf("slab %+v, want %+v", *f.Slabs[s.ID], s)
			}
		}
		if w := work(t, x); w != (Work{Pending: 1, Removals: 1}) {
			t.Errorf("left to do: %+v", w)
		}
		if m, err := x.Pending(t.Context(), 77, 9); err != nil || len(m) != 1 || m[0].Tries != 5 {
			t.Errorf("pending %v, %v", m, err)
		}
		y := newIndex(t)
		y.c.Device = 1
		exchange(t, x, y) // others learn of everything
		if got, want := state(t.Context(), t, y), state(t.Context(), t, x); got != want {
			t.Errorf("elsewhere\n%s\nhere\n%s", got, want)
		}
		x.Close()
	}
	x := open(t, path)
	for i := range 2 {
		if _, err := x.Remove(t.Context(), Ref{Bucket: "town", Key: fmt.Sprint("key", i)}, RemoveOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if w := work(t, x); w.Pending != 0 || w.Removals != 4 {
		t.Errorf("when the slab's last user is gone: %+v", w)
	}
	// The copy is the old file, and sound.
	if _, err := os.Stat(path + ".v1"); err != nil {
		t.Fatal(err)
	}
	z := open(t, path+".v1")
	if p, err := z.List(t.Context(), "town", Listing{}); err != nil || len(p.Objects) != 3 {
		t.Errorf("%v, %v", p, err)
	}
}

func TestADamagedFileOfVersionOneIsLeftAsItIs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index.db")
	old(t, path)
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`UPDATE objects SET etag = 'other'`); err != nil {
		t.Fatal(err)
	}
	db.Close()
	before, _ := os.ReadFile(path)
	_, err = Open(Config{Path: path})
	wantCode(t, err, fault.DamagedIndex)
	if after, _ := os.ReadFile(path); string(after) != string(before) {
		t.Error("the file was changed")
	}
}
