package volume

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"hearth/core/fault"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Open opens the store in c.Dir, or makes one. What was being received when the
// last process ended was never acknowledged: it is in no index, and its room is
// used again. Where the index is missing altogether it is rebuilt from the volumes.
func Open(c Config) (*Store, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	s := &Store{
		c: c, volumes: map[uint32]*volume{}, next: 1,
		ops: make(chan *op, maxGroup), closing: make(chan struct{}), quit: make(chan struct{}),
	}
	s.buffers.New = func() any { b := make([]byte, blockSize); return &b }
	if err := s.open(); err != nil {
		return nil, fmt.Errorf("open volumes in %s: %w", c.Dir, errors.Join(err, s.abandon()))
	}
	s.committer.Add(1)
	go s.commit()
	return s, nil
}

func (s *Store) open() error {
	fs, dir := s.c.FS, s.c.Dir
	if err := s.makeDirs(); err != nil {
		return err
	}
	lock, err := fs.Lock(fs.PathJoin(dir, "lock"))
	if err != nil {
		return fault.New(fault.AlreadyRunning, "lock folder: %w", err)
	}
	s.lock = lock
	s.holes = s.punches()
	s.ballast = &ballast{fs: fs, path: fs.PathJoin(dir, "ballast"), size: s.c.Ballast}
	if info, err := fs.Stat(s.ballast.path); err != nil || info.Size() < s.c.Ballast {
		s.ballast.gone.Store(true)
	}
	if err := s.ballast.enough(); err != nil {
		return err
	}
	made, err := s.openIndex()
	if err != nil {
		return err
	}
	s.ballast.load()
	if err := s.openVolumes(); err != nil {
		return err
	}
	if made && len(s.volumes) > 0 {
		if err := s.rebuild(); err != nil {
			return err
		}
	}
	if made {
		if err := s.index.Set(formatKey, []byte{version}, pebble.Sync); err != nil {
			return full(err)
		}
	}
	return s.count()
}

// abandon closes what a failed open has opened.
func (s *Store) abandon() error {
	var err error
	for _, v := range s.volumes {
		err = errors.Join(err, v.close())
	}
	if s.index != nil {
		err = errors.Join(err, s.index.Close())
	}
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
	}
	return err
}

func (s *Store) makeDirs() error {
	fs := s.c.FS
	if err := fs.MkdirAll(s.volumeDir(), 0o700); err != nil {
		return full(err)
	}
	// The names themselves must survive a power loss, up to the folder we were given.
	for _, dir := range []string{s.c.Dir, fs.PathDir(s.c.Dir)} {
		if err := s.syncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// openIndex opens Pebble; made says that there was none, or none that was finished.
func (s *Store) openIndex() (made bool, err error) {
	dir := s.c.FS.PathJoin(s.c.Dir, "index")
	log := quiet{func(m string, args ...any) { s.c.Log.Warn("index", "err", m) }}
	cache := pebble.NewCache(8 << 20)
	defer cache.Unref()
	s.index, err = pebble.Open(dir, &pebble.Options{
		FS:                    slowly{vfs.OnDiskFull(s.c.FS, s.ballast.drop), s.ballast},
		Cache:                 cache,
		MemTableSize:          4 << 20,
		MaxOpenFiles:          256,
		FormatMajorVersion:    pebble.FormatNewest,
		Logger:                log,
		L0CompactionThreshold: 2,
	})
	if err != nil {
		return false, full(fault.New(fault.DamagedFile, "open index: %w", err))
	}
	b, err := get(s.index, formatKey)
	if err != nil {
		return false, err
	}
	switch {
	case b == nil:
		return true, nil
	case len(b) != 1 || b[0] != version:
		return false, fault.New(fault.UnknownFormat, "open index: format %x is unknown", b)
	}
	return false, nil
}

// formatKey is written last when an index is made.
var formatKey = []byte{0}

func (s *Store) openVolumes() error {
	names, err := s.c.FS.List(s.volumeDir())
	if err != nil {
		return err
	}
	for _, name := range names {
		hex, ok := strings.CutSuffix(name, ".volume")
		number, err := strconv.ParseUint(hex, 16, 32)
		if !ok || err != nil || s.path(uint32(number)) != s.c.FS.PathJoin(s.volumeDir(), name) {
			s.c.Log.Warn("unknown file among the volumes", "name", name)
			continue
		}
		if err := s.openVolume(uint32(number)); err != nil {
			return err
		}
	}
	return nil
}

// openVolume opens one file. One without a whole header takes no more records;
// if it never held one, it is removed by count.
func (s *Store) openVolume(number uint32) error {
	v := &volume{number: number, path: s.path(number), end: page}
	var err error
	if v.f, err = s.c.FS.OpenReadWrite(v.path, vfs.WriteCategoryUnspecified); err != nil {
		return err
	}
	s.volumes[number] = v
	s.next = max(s.next, number+1)
	info, err := v.f.Stat()
	if err != nil {
		return err
	}
	v.room = info.Size()
	header := make([]byte, volumeSize)
	if _, err = v.f.ReadAt(header, 0); err == nil {
		var told uint32
		if told, v.salt, err = parseVolumeHeader(header); err == nil && told != number {
			err = errHeader
		}
	}
	if err != nil {
		v.sealed = true
		s.c.Log.Warn("volume without a whole header", "path", v.path, "err", err)
	}
	return nil
}

// count reads the index: what is stored, and where each volume's next record goes.
func (s *Store) count() error {
	err := each(s.index, []byte{prefixShard}, func(key, value []byte) error {
		e, err := entryAt(key, value)
		if err != nil {
			return err
		}
		s.stored += e.Size
		s.shards++
		if e.Damaged {
			s.bad++
		}
		v := s.volumes[e.volume]
		if v == nil {
			s.c.Log.Error("shard in a missing volume", "root", fmt.Sprintf("%x", e.Root), "volume", e.volume)
			return nil
		}
		foot := footprint(e.Size)
		s.used += foot
		v.live += foot
		v.end = max(v.end, e.off+foot)
		return nil
	})
	if err != nil {
		return err
	}
	for _, v := range s.volumes {
		if s.active == nil || v.number > s.active.number {
			s.active = v
		}
	}
	for _, v := range s.volumes {
		if v != s.active || v.sealed {
			v.sealed = true
			v.end = max(v.end, v.room/page*page)
			s.dropEmpty(v)
		}
	}
	return nil
}

func entryAt(key, value []byte) (Entry, error) {
	if len(key) != 33 {
		return Entry{}, fault.New(fault.DamagedFile, "read index: key %x: %w", key, errEntry)
	}
	e, err := parseEntry([32]byte(key[1:]), value)
	if err != nil {
		return Entry{}, fault.New(fault.DamagedFile, "read index: shard %x: %w", key[1:9], err)
	}
	return e, nil
}
