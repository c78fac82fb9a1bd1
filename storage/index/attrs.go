package index

import (
	"maps"
	"slices"

	"hearth/core/canon"
	"hearth/core/fault"
)

// The modes of a retention.
const (
	Governance = "GOVERNANCE" // who may bypass it can end it early
	Compliance = "COMPLIANCE" // nobody ends it early
)

// Attrs are what may change about an object without a new version.
type Attrs struct {
	Tags        map[string]string
	Hold        bool   // legal hold
	RetainMode  string // "", Governance or Compliance
	RetainUntil int64  // unix seconds
}

// Limits of an object's own words.
const (
	maxWord  = 256
	maxExtra = 8 << 10
)

// locked says why a version can't be removed for good at unix second now.
func (a Attrs) locked(now int64, bypass bool) error {
	switch {
	case a.Hold:
		return fault.New(fault.Locked, "it is under a legal hold")
	case a.RetainUntil <= now || a.RetainMode == "" || a.RetainMode == Governance && bypass:
		return nil
	}
	return fault.New(fault.Locked, "it is retained in mode %s for %d more seconds", a.RetainMode, a.RetainUntil-now)
}

var modes = []string{"", Governance, Compliance}

func writeWords(w *canon.Writer, words map[string]string) {
	w.Uint64(uint64(len(words)))
	for _, k := range slices.Sorted(maps.Keys(words)) {
		w.String(k).String(words[k])
	}
}

// readWords takes words in their one order: sorted, none twice.
func readWords(r *canon.Reader) (map[string]string, error) {
	n := r.Uint64()
	if n == 0 {
		return nil, nil
	}
	if n > maxExtra/8 {
		return nil, fault.New(fault.TooLarge, "%d words of metadata, at most %d are allowed", n, maxExtra/8)
	}
	out := make(map[string]string)
	last := ""
	for i := range n {
		k := r.String(maxExtra)
		if i > 0 && k <= last {
			return nil, fault.New(fault.BadFrame, "metadata isn't in order")
		}
		out[k], last = r.String(maxExtra), k
	}
	return out, nil
}

func encodeExtra(extra map[string]string) ([]byte, error) {
	w := canon.New(1)
	writeWords(w, extra)
	if len(w.Bytes()) > maxExtra {
		return nil, fault.New(fault.TooLarge, "metadata of %d bytes, at most %d are allowed", len(w.Bytes()), maxExtra)
	}
	return w.Bytes(), nil
}

func decodeExtra(b []byte) (map[string]string, error) {
	r := canon.Read(b, 1)
	out, err := readWords(r)
	if err == nil {
		err = r.Done()
	}
	return out, err
}

func encodeAttrs(a Attrs) ([]byte, error) {
	mode := slices.Index(modes, a.RetainMode)
	if mode < 0 || (mode == 0) != (a.RetainUntil == 0) || a.RetainUntil < 0 {
		return nil, fault.New(fault.BadRequest, "retention %q until %d", a.RetainMode, a.RetainUntil)
	}
	hold := uint8(0)
	if a.Hold {
		hold = 1
	}
	w := canon.New(1).Uint8(hold).Uint8(uint8(mode)).Int64(a.RetainUntil)
	writeWords(w, a.Tags)
	if len(w.Bytes()) > maxExtra {
		return nil, fault.New(fault.TooLarge, "tags of %d bytes, at most %d are allowed", len(w.Bytes()), maxExtra)
	}
	return w.Bytes(), nil
}

func decodeAttrs(b []byte) (Attrs, error) {
	r := canon.Read(b, 1)
	hold, mode, until := r.Uint8(), r.Uint8(), r.Int64()
	tags, err := readWords(r)
	if err == nil {
		err = r.Done()
	}
	if err == nil && (hold > 1 || int(mode) >= len(modes) || until < 0 || (mode == 0) != (until == 0)) {
		err = fault.New(fault.BadFrame, "attributes: hold %d, mode %d, until %d", hold, mode, until)
	}
	if err != nil {
		return Attrs{}, err
	}
	return Attrs{Tags: tags, Hold: hold == 1, RetainMode: modes[mode], RetainUntil: until}, nil
}

// keep applies a floor: the latest end of a Compliance retention that any device
// has set. However devices' changes are merged, it isn't shortened.
func (a Attrs) keep(floor, now int64) Attrs {
	if floor > now && (a.RetainMode != Compliance || a.RetainUntil < floor) {
		a.RetainMode, a.RetainUntil = Compliance, floor
	}
	return a
}

// floor is what a adds to the floor.
func (a Attrs) floor() int64 {
	if a.RetainMode == Compliance {
		return a.RetainUntil
	}
	return 0
}
