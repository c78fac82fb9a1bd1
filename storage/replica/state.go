package replica

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"hearth/core/canon"
	"hearth/core/fault"
	"hearth/core/pointer"
	"hearth/internal/durable"
)

// state is what is known of the logs, in a file beside the index.
type state struct {
	pointer pointer.Signed // the newest that was signed here; zero: none
	head    head           // what it points at
	sent    bool           // more than half of the hosts have it
	whole   bool           // the index has to go into the log as a whole
	posted  uint64         // number of the pointer that the ledger was told
	when    int64          // unix seconds
	others  map[uint64]known
}

// known is how far another device's log was merged.
type known struct {
	pointer  pointer.Signed
	position uint64
}

const stateMajor = 1

func flag(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

func (s *state) encode() ([]byte, error) {
	w := canon.New(stateMajor).Uint8(flag(s.pointer.Seq > 0))
	if s.pointer.Seq > 0 {
		b, err := s.head.encode()
		if err != nil {
			return nil, err
		}
		w.Blob(s.pointer.Encode()).Blob(b)
	}
	w.Uint8(flag(s.sent)).Uint8(flag(s.whole)).Uint64(s.posted).Int64(s.when).Uint8(uint8(len(s.others)))
	for _, device := range sorted(s.others) {
		o := s.others[device]
		w.Blob(o.pointer.Encode()).Uint64(o.position)
	}
	return w.Bytes(), nil
}

func sorted(m map[uint64]known) []uint64 {
	out := make([]uint64, 0, len(m))
	for d := range m {
		out = append(out, d)
	}
	slices.SortFunc(out, cmp.Compare)
	return out
}

func decodeState(b []byte) (state, error) {
	r := canon.Read(b, stateMajor)
	s := state{others: map[uint64]known{}}
	if r.Uint8() == 1 {
		raw, plain := r.Blob(pointer.MaxBytes), r.Blob(MaxHead)
		if len(raw) > 0 && len(plain) > 0 {
			p, err := pointer.Decode(raw)
			if err != nil {
				return s, err
			}
			h, err := decodeHead(plain)
			if err != nil {
				return s, err
			}
			s.pointer, s.head = p, *h
		}
	}
	s.sent, s.whole, s.posted, s.when = r.Uint8() == 1, r.Uint8() == 1, r.Uint64(), r.Int64()
	for range r.Uint8() {
		raw := r.Blob(pointer.MaxBytes)
		position := r.Uint64()
		p, err := pointer.Decode(raw)
		if err != nil {
			return s, err
		}
		s.others[p.Device] = known{p, position}
	}
	return s, r.Done()
}

// load reads the file. One that is damaged is no loss: the network has it all. It
// isn't used, and another is begun.
func (l *Log) load() (found bool, err error) {
	l.s = state{others: map[uint64]known{}, head: head{device: l.c.Device}}
	b, err := os.ReadFile(l.c.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read state of the log: %w", err)
	}
	s, err := decodeState(b)
	if fault.CodeOf(err) == fault.UnknownFormat {
		return false, fault.New(fault.UnknownFormat, "read state of the log %s: %w", l.c.Path, err)
	}
	if err == nil && s.pointer.Seq > 0 {
		err = s.pointer.Of(l.c.ChainID, l.c.Account, l.c.public())
	}
	if err != nil || s.pointer.Seq > 0 && s.pointer.Device != l.c.Device {
		l.c.Log.Warn("the state of the log isn't usable, the log is read anew from hosts", "file", l.c.Path, "err", err)
		return false, nil
	}
	if s.pointer.Seq == 0 {
		s.head = head{device: l.c.Device}
	}
	l.s = s
	return true, nil
}

func (l *Log) save() error {
	b, err := l.s.encode()
	if err == nil {
		err = durable.Write(l.c.Path, b, 0o600)
	}
	if err != nil {
		return fmt.Errorf("keep state of the log: %w", err)
	}
	return nil
}
