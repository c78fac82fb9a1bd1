package repair

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"time"

	"hearth/internal/durable"
)

// left are hosts that were given up, with the time until which nothing new is put
// there. One that proves and doesn't serve, or comes and goes, still offers its
// room: who holds nothing any more isn't asked again, so this has to be remembered.
type left struct {
	path  string
	until map[string]time.Time
	told  bool
}

// leftFile is left as it lies on disk. Losing it costs hiring such a host once more.
type leftFile struct {
	Format int                  `json:"format"`
	Hosts  map[string]time.Time `json:"hosts"`
}

func (l *left) load(path string, log *slog.Logger) {
	l.path, l.until = path, map[string]time.Time{}
	if path == "" {
		return
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	var f leftFile
	if err == nil {
		err = json.Unmarshal(b, &f)
	}
	if err != nil || f.Format != 1 {
		log.Warn("hosts that were left are forgotten: what is remembered of them can't be read", "file", path, "err", err)
		return
	}
	maps.Copy(l.until, f.Hosts)
}

func (l *left) keep() error {
	if l.path == "" {
		return nil
	}
	b, err := json.Marshal(leftFile{1, l.until})
	if err == nil {
		err = durable.Write(l.path, b, 0o600)
	}
	if err != nil {
		return fmt.Errorf("keep the hosts that were left: %w", err)
	}
	return nil
}

// leave takes note of hosts that are given up and of those whose time is over, and
// tells the hand of all that remain.
func (w *Watcher) leave() error {
	now, l := w.c.Now(), &w.left
	changed := false
	for name, h := range w.hosts {
		if !h.Left(now, w.c.Rules) {
			continue
		}
		if _, known := l.until[name]; !known {
			changed = true
			w.c.Log.Warn("host left: it stays away or doesn't serve", "host", name, "for", w.c.Rules.Shun.String(), "err", w.why[name])
		}
		l.until[name] = now.Add(w.c.Rules.Shun)
	}
	for name, until := range l.until {
		if now.After(until) {
			delete(l.until, name)
			changed = true
		}
	}
	if l.told && !changed {
		return nil
	}
	l.told = true
	shunned := make(map[string]bool, len(l.until))
	for name := range l.until {
		shunned[name] = true
	}
	w.c.Hand.Shun(shunned)
	if !changed {
		return nil
	}
	return l.keep()
}
