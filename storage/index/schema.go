package index

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"hearth/core/fault"
)

// schemaVersion stands in the file's header and, checksummed, in table meta.
const schemaVersion = 2

// Rows carry a checksum of their other columns (not of tries, next, upload, due
// and a slab's seq: see check.go). A placement's root and size are its slab's. Of
// a version's columns, current is there so that a listing finds the newest ones at
// once, however many there are below.
const schema = `
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE buckets (
	name TEXT PRIMARY KEY, created INTEGER NOT NULL, versioning INTEGER NOT NULL, gone INTEGER NOT NULL,
	clock INTEGER NOT NULL, device INTEGER NOT NULL, sum BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE docs (
	bucket TEXT NOT NULL, name TEXT NOT NULL, gone INTEGER NOT NULL, clock INTEGER NOT NULL, device INTEGER NOT NULL,
	body BLOB NOT NULL, sum BLOB NOT NULL, PRIMARY KEY (bucket, name)) WITHOUT ROWID;
CREATE TABLE versions (
	bucket TEXT NOT NULL, key TEXT NOT NULL, clock INTEGER NOT NULL, device INTEGER NOT NULL,
	plain INTEGER NOT NULL, marker INTEGER NOT NULL, current INTEGER NOT NULL,
	size INTEGER NOT NULL, created INTEGER NOT NULL,
	etag TEXT NOT NULL, type TEXT NOT NULL, extra BLOB NOT NULL,
	attrs BLOB NOT NULL, aclock INTEGER NOT NULL, adevice INTEGER NOT NULL, floor INTEGER NOT NULL,
	manifest INTEGER NOT NULL, mclock INTEGER NOT NULL, mdevice INTEGER NOT NULL, sum BLOB NOT NULL,
	PRIMARY KEY (bucket, key, clock DESC, device DESC)) WITHOUT ROWID;
CREATE INDEX versions_heads ON versions (bucket, current, key) WHERE current = 1 OR plain = 1;
CREATE TABLE tombs (
	bucket TEXT NOT NULL, key TEXT NOT NULL, clock INTEGER NOT NULL, device INTEGER NOT NULL, plain INTEGER NOT NULL,
	bclock INTEGER NOT NULL, bdevice INTEGER NOT NULL, sum BLOB NOT NULL,
	PRIMARY KEY (bucket, key, clock, device)) WITHOUT ROWID;
CREATE INDEX tombs_age ON tombs (bclock);
CREATE TABLE early (
	bucket TEXT NOT NULL, key TEXT NOT NULL, clock INTEGER NOT NULL, device INTEGER NOT NULL,
	bclock INTEGER NOT NULL, bdevice INTEGER NOT NULL, body BLOB NOT NULL, sum BLOB NOT NULL,
	PRIMARY KEY (bucket, key, clock, device, bclock, bdevice)) WITHOUT ROWID;
CREATE INDEX early_age ON early (bclock);
CREATE TABLE manifests (id INTEGER PRIMARY KEY, body BLOB NOT NULL, sum BLOB NOT NULL);
CREATE TABLE slabs (
	id BLOB PRIMARY KEY, refs INTEGER NOT NULL, local INTEGER NOT NULL, clock INTEGER NOT NULL, device INTEGER NOT NULL,
	body BLOB NOT NULL, sum BLOB NOT NULL, due INTEGER NOT NULL, seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX slabs_due ON slabs (due) WHERE due > 0;
CREATE INDEX slabs_seq ON slabs (seq);
CREATE TABLE gone (
	slab BLOB PRIMARY KEY, local INTEGER NOT NULL, clock INTEGER NOT NULL, device INTEGER NOT NULL,
	sum BLOB NOT NULL, seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX gone_seq ON gone (seq);
CREATE INDEX gone_age ON gone (clock);
CREATE TABLE hosts (id INTEGER PRIMARY KEY, address TEXT NOT NULL UNIQUE, sum BLOB NOT NULL);
CREATE TABLE placements (
	slab BLOB NOT NULL, shard INTEGER NOT NULL, host INTEGER NOT NULL, lease INTEGER NOT NULL,
	clock INTEGER NOT NULL, device INTEGER NOT NULL, sum BLOB NOT NULL, PRIMARY KEY (slab, shard)) WITHOUT ROWID;
CREATE INDEX placements_host ON placements (host, lease);
CREATE TABLE pending (
	slab BLOB NOT NULL, shard INTEGER NOT NULL, tries INTEGER NOT NULL, next INTEGER NOT NULL,
	sum BLOB NOT NULL, PRIMARY KEY (slab, shard)) WITHOUT ROWID;
CREATE INDEX pending_next ON pending (next);
CREATE TABLE uploads (id INTEGER PRIMARY KEY, started INTEGER NOT NULL);
CREATE TABLE intents (
	upload INTEGER NOT NULL, host INTEGER NOT NULL, lease INTEGER NOT NULL, root BLOB NOT NULL, size INTEGER NOT NULL,
	sum BLOB NOT NULL, PRIMARY KEY (upload, host, lease, root)) WITHOUT ROWID;
CREATE INDEX intents_shard ON intents (host, lease, root);
CREATE TABLE removals (
	host INTEGER NOT NULL, lease INTEGER NOT NULL, root BLOB NOT NULL, size INTEGER NOT NULL,
	sum BLOB NOT NULL, tries INTEGER NOT NULL, next INTEGER NOT NULL, PRIMARY KEY (host, lease, root)) WITHOUT ROWID;
CREATE INDEX removals_next ON removals (next);
CREATE TABLE journal (
	segment INTEGER NOT NULL, offset INTEGER NOT NULL, length INTEGER NOT NULL, manifest INTEGER NOT NULL,
	bucket TEXT NOT NULL, key TEXT NOT NULL, clock INTEGER NOT NULL, device INTEGER NOT NULL,
	sum BLOB NOT NULL, PRIMARY KEY (segment, offset, manifest)) WITHOUT ROWID;
CREATE TABLE multiparts (
	id TEXT PRIMARY KEY, bucket TEXT NOT NULL, key TEXT NOT NULL, created INTEGER NOT NULL,
	type TEXT NOT NULL, extra BLOB NOT NULL, attrs BLOB NOT NULL, sum BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX multiparts_key ON multiparts (bucket, key, id);
CREATE TABLE parts (
	upload TEXT NOT NULL, number INTEGER NOT NULL, size INTEGER NOT NULL, created INTEGER NOT NULL,
	etag TEXT NOT NULL, extra BLOB NOT NULL, manifest INTEGER NOT NULL, sum BLOB NOT NULL,
	PRIMARY KEY (upload, number)) WITHOUT ROWID;
CREATE TABLE changes (seq INTEGER PRIMARY KEY, body BLOB NOT NULL, sum BLOB NOT NULL);
`

// create makes an empty index beside its place and moves it there whole, so that
// an empty or half-made file is never taken for a new one.
func (x *Index) create() error {
	if err := os.MkdirAll(filepath.Dir(x.c.Path), 0o700); err != nil {
		return err
	}
	fresh := x.c.Path + ".new"
	for _, name := range []string{fresh, fresh + "-wal", fresh + "-shm"} {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	f, err := os.OpenFile(fresh, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	db, err := x.connect(fresh, "rw")
	if err != nil {
		return err
	}
	_, err = db.Exec(fmt.Sprintf(`BEGIN; PRAGMA application_id = %d; PRAGMA user_version = %d; %s
		INSERT INTO meta VALUES ('schema', %[2]d), ('clock', 0), ('flushed', 0); COMMIT;`, applicationID, schemaVersion, schema))
	if err := errors.Join(err, db.Close()); err != nil { // closing empties the log into the file
		return err
	}
	if err := os.Rename(fresh, x.c.Path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(x.c.Path))
}

// small is the size up to which a file is checked in every respect when it is opened.
const small = 64 << 20

const applicationID = 0x48727468 // "Hrth"

// inspect looks at the file without changing it.
func (x *Index) inspect() error {
	if err := x.checkHeader(); err != nil {
		return err
	}
	switch why, err := walDamage(x.c.Path + "-wal"); {
	case err != nil:
		return fmt.Errorf("open index: read its log: %w", err)
	case why != "":
		return x.damaged("%s", why)
	}
	db, err := x.connect(x.c.Path, "ro")
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	err = x.check(db)
	switch fault.CodeOf(err) {
	case "", fault.UnknownFormat, fault.DiskFull:
		return err
	}
	if err = failed("check index "+x.c.Path, err); fault.CodeOf(err) == fault.DamagedIndex || nonsense(err) {
		return x.damaged("%w", err)
	}
	return err
}

// nonsense says of SQLite's complaint that it is about what the file says, and
// not about reading it.
func nonsense(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && e.Code()&0xff == sqlite3.SQLITE_ERROR
}

func (x *Index) checkHeader() error {
	f, err := os.Open(x.c.Path)
	if err != nil {
		return fmt.Errorf("open index: %w", err)
	}
	defer f.Close()
	var head [100]byte
	if _, err := io.ReadFull(f, head[:]); err != nil {
		return x.damaged("it is cut short: %w", err)
	}
	if string(head[:16]) != "SQLite format 3\x00" {
		return x.damaged("it doesn't begin like a SQLite file")
	}
	return nil
}

func (x *Index) check(db *sql.DB) error {
	bad := func(format string, args ...any) error { return fault.New(fault.DamagedIndex, format, args...) }
	var app, version, twice int64
	if err := db.QueryRow(`PRAGMA application_id`).Scan(&app); err != nil {
		return err
	}
	if err := db.QueryRow(`PRAGMA user_version`).Scan(&version); err != nil {
		return err
	}
	if app != applicationID {
		return bad("check index %s: it is another program's file (application id %#x)", x.c.Path, app)
	}
	if err := db.QueryRow(`SELECT value FROM meta WHERE name = 'schema'`).Scan(&twice); err != nil {
		return bad("check index %s: it doesn't say its version: %w", x.c.Path, err)
	}
	if version != twice {
		return bad("check index %s: versions %d and %d contradict one another", x.c.Path, version, twice)
	}
	tables := summed
	switch {
	case version == 1:
		x.old, tables = true, summed1
	case version != schemaVersion:
		return fault.New(fault.UnknownFormat, "open index %s: schema version %d, known is %d", x.c.Path, version, schemaVersion)
	}
	pragma := `PRAGMA quick_check(1)`
	if info, err := os.Stat(x.c.Path); err == nil && info.Size() < small {
		pragma = `PRAGMA integrity_check(1)` // compares tables with their indexes as well
	}
	var verdict string
	if err := db.QueryRow(pragma).Scan(&verdict); err != nil {
		return err
	}
	if verdict != "ok" {
		return bad("check index %s: %s", x.c.Path, verdict)
	}
	return checkRows(context.Background(), db, tables)
}

// damaged leaves a note beside the file and reports the damage.
func (x *Index) damaged(format string, args ...any) error {
	err := fault.New(fault.DamagedIndex, "open index "+x.c.Path+": the file is damaged: "+format, args...)
	note := x.c.Path + ".damaged"
	if e := os.WriteFile(note, []byte(err.Error()+"\nThe file was left as it is.\n"), 0o600); e != nil {
		x.c.Log.Warn("note of damage not written", "file", note, "err", e)
	}
	return err
}
