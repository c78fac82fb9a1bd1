package volume

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"sync"

	"hearth/core/fault"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A volume is one file. Its counters belong to the store's mutex; its own keeps
// the file open while somebody reads or writes it.
type volume struct {
	number uint32
	salt   salt
	path   string
	end    int64 // where the next record goes
	room   int64 // up to where the file has been grown
	live   int64 // footprints of its indexed records and of those being received
	sealed bool  // takes no more records
	tried  int64 // live, when Compact has moved what it could; 0: it hasn't

	mu sync.RWMutex
	f  vfs.File // nil once closed
}

var errGone = errors.New("the volume is gone")

func (v *volume) readAt(p []byte, off int64) error {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.f == nil {
		return errGone
	}
	_, err := v.f.ReadAt(p, off)
	return err
}

func (v *volume) writeAt(p []byte, off int64) error {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.f == nil {
		return errGone
	}
	_, err := v.f.WriteAt(p, off)
	return err
}

func (v *volume) sync() error {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.f == nil {
		return errGone
	}
	return v.f.SyncData()
}

func (v *volume) close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.f == nil {
		return nil
	}
	err := v.f.Close()
	v.f = nil
	return err
}

// A place is where a record lies.
type place struct {
	v    *volume
	off  int64
	foot int64
}

// reserve hands out room for a shard, within the capacity. A copy made by Compact
// gets its room beyond it: the original's returns right after.
func (s *Store) reserve(size int64, copied bool) (place, error) {
	if !s.ballast.load() {
		return place{}, fault.New(fault.DiskFull, "reserve %d bytes: the disk is full", size)
	}
	foot := footprint(size)
	s.mu.Lock()
	defer s.mu.Unlock()
	if taken := s.used + s.waste(); !copied && taken+foot > s.c.Capacity {
		return place{}, fault.New(fault.HostFull, "reserve %d bytes: %d of %d are taken", size, taken, s.c.Capacity)
	}
	v := s.active
	if v != nil && (v.sealed || v.end+foot > s.c.VolumeSize) {
		v.sealed = true
		s.active = nil
		s.dropEmpty(v)
		v = nil
	}
	if v == nil {
		var err error
		if v, err = s.create(); err != nil {
			return place{}, full(fmt.Errorf("create volume: %w", err))
		}
		s.active = v
	}
	if err := s.extend(v, v.end+foot); err != nil {
		return place{}, full(fmt.Errorf("grow %s: %w", v.path, err))
	}
	p := place{v, v.end, foot}
	v.end += foot
	v.live += foot
	s.used += foot
	return p, nil
}

// extend grows the file in large steps, or by just what is needed where the
// disk has no room for a step.
func (s *Store) extend(v *volume, to int64) error {
	if to <= v.room {
		return nil
	}
	err := error(nil)
	for _, room := range []int64{min(max(to, v.room+s.c.Step), s.c.VolumeSize), to} {
		if err = grow(v.f, v.room, room-v.room); err == nil {
			v.room = room
			return nil
		}
	}
	return err
}

// release gives the room of a record back. Its index entry is gone by then.
func (s *Store) release(p place) {
	p.v.mu.RLock()
	if p.v.f != nil {
		punch(p.v.f, p.off, p.foot)
	}
	p.v.mu.RUnlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	p.v.live -= p.foot
	s.used -= p.foot
	switch {
	case p.v.sealed:
		s.dropEmpty(p.v)
	case p.v.live == 0:
		p.v.end = page
	case p.off+p.foot == p.v.end:
		p.v.end = p.off
	}
}

// dropEmpty removes a sealed volume that holds nothing. The caller holds s.mu.
func (s *Store) dropEmpty(v *volume) {
	if v.live > 0 || s.volumes[v.number] != v {
		return
	}
	delete(s.volumes, v.number)
	if s.active == v {
		s.active = nil
	}
	err := v.close()
	if e := s.c.FS.Remove(v.path); e != nil && !errors.Is(e, os.ErrNotExist) {
		err = errors.Join(err, e)
	}
	if err != nil {
		s.c.Log.Warn("remove empty volume", "path", v.path, "err", err)
	}
}

// create makes the next volume, durable with its name. The caller holds s.mu.
func (s *Store) create() (*volume, error) {
	v := &volume{number: s.next, path: s.path(s.next), end: page, room: 0}
	if _, err := rand.Read(v.salt[:]); err != nil {
		return nil, err
	}
	f, err := s.c.FS.Create(v.path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, err
	}
	header := make([]byte, page)
	appendVolumeHeader(header[:0], v.number, v.salt)
	_, err = f.Write(header)
	if err == nil {
		err = f.Sync()
	}
	// Opened again: only that makes every file system accept WriteAt.
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		v.f, err = s.c.FS.OpenReadWrite(v.path, vfs.WriteCategoryUnspecified)
	}
	if err == nil {
		err = s.syncDir(s.volumeDir())
	}
	if err != nil {
		_ = v.close()
		_ = s.c.FS.Remove(v.path)
		return nil, err
	}
	v.room = page
	s.next++
	s.volumes[v.number] = v
	return v, nil
}

func (s *Store) volumeDir() string { return s.c.FS.PathJoin(s.c.Dir, "volumes") }

func (s *Store) path(number uint32) string {
	return s.c.FS.PathJoin(s.volumeDir(), fmt.Sprintf("%08x.volume", number))
}

func (s *Store) syncDir(dir string) error {
	d, err := s.c.FS.OpenDir(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if e := d.Close(); err == nil {
		err = e
	}
	return err
}

// full gives an error of the file system its code.
func full(err error) error {
	if vfs.IsNoSpaceError(err) {
		return fault.New(fault.DiskFull, "%w", err)
	}
	return err
}
