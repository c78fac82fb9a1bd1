package index

import (
	"fmt"
	"path/filepath"
	"testing"

	"hearth/core/fault"
)

// A write for which there is no room fails as a whole, with a word that says so,
// and everything else goes on.
func TestFullDiskChangesNothing(t *testing.T) {
	x, d := onDisk(t, filepath.Join(t.TempDir(), "index.db"))
	put(t, x, draft(ref, newSlab(1, 4)))
	full := 0
	for room := int64(0); room < 200_000; room += 1777 {
		d.mu.Lock()
		d.room = room
		d.mu.Unlock()
		key := Ref{Bucket: "town", Key: fmt.Sprint(room)}
		_, err := tryPut(t.Context(), x, draft(key, newSlab(byte(2+room/1777), 4)))
		d.mu.Lock()
		d.room = -1
		d.mu.Unlock()
		_, there := x.Head(t.Context(), key)
		switch {
		case err == nil && there != nil:
			t.Errorf("room for %d bytes: acknowledged, and not there: %v", room, there)
		case err != nil:
			wantCode(t, err, fault.DiskFull)
			wantCode(t, there, fault.NotFound)
			full++
		}
		if _, err := x.Get(t.Context(), ref); err != nil {
			t.Errorf("room for %d bytes: the old state is gone: %v", room, err)
		}
	}
	if full == 0 {
		t.Error("the disk was never full")
	}
	x.Close()
	y := open(t, x.c.Path)
	if _, err := y.Get(t.Context(), ref); err != nil {
		t.Error(err)
	}
	if _, err := y.Reclaim(t.Context()); err != nil {
		t.Error(err)
	}
}
