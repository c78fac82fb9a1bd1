package client_test

import (
	"strings"
	"testing"
	"time"

	"hearth/core/fault"
	"hearth/core/money"
)

// Who uses his machine himself is paid nothing for the time: no more is signed, and what
// was signed already is given back.
func TestAHostThatPausesForItsOwnersSakeEarnsNothingByIt(t *testing.T) {
	w := newTown(t)
	w.create("web")
	holds := func(ahead time.Duration) error { return w.x.Holds(t.Context(), pair{w}, ahead) }
	const online, away = 10 * time.Minute, 7*24*time.Hour - 10*time.Minute
	want(t, "it runs", holds(online), "")

	w.held.Store(true)
	if s := w.stands("web", "paused"); !strings.Contains(s.Reason, "the owner is here") {
		t.Errorf("why isn't said: %+v", s)
	}
	for _, ahead := range []time.Duration{online, away} {
		want(t, "it stands still", holds(ahead), fault.HostRefused)
	}
	_, err := w.x.Create(t.Context(), "db", "app:1", "hearth1host", w.spec(), money.Ember)
	want(t, "another", err, fault.HostFull)
	want(t, "run it", w.x.Start(t.Context(), "web"), fault.HostRefused)

	w.later.Add(int64(20 * time.Minute)) // all of which is signed
	w.held.Store(false)
	w.stands("web", "running")
	err = holds(online)
	if want(t, "twenty minutes are owed", err, fault.HostRefused); !strings.Contains(err.Error(), "it owes 20m") {
		t.Error(err)
	}
	want(t, "before an absence that is longer", holds(away), "")

	w.unpaid(true)
	for range 15 { // minutes, in which it runs on what is owed
		before := w.owed()
		w.later.Add(int64(time.Minute))
		until(t, "the host has counted it", func() bool { return w.owed() < before })
		w.stands("web", "running")
	}
	until(t, "it has run for what was owed", func() bool {
		w.later.Add(int64(time.Minute))
		return w.owed() == 0
	})
	if s := w.stands("web", "paused"); !strings.Contains(s.Reason, "signed time") {
		t.Errorf("%+v", s)
	}
	want(t, "nothing is owed any more", holds(online), "")
	w.unpaid(false)
	w.stands("web", "running")
}

func (w *town) unpaid(is bool) {
	w.desk.mu.Lock()
	defer w.desk.mu.Unlock()
	w.desk.unpaid = is
}

// owed is what keeps a client from signing a second, in its own words; 0: nothing.
func (w *town) owed() time.Duration {
	err := w.x.Holds(w.t.Context(), pair{w}, time.Second)
	if err == nil {
		return 0
	}
	_, rest, found := strings.Cut(err.Error(), "it owes ")
	text, _, _ := strings.Cut(rest, " ")
	d, perr := time.ParseDuration(text)
	if !found || perr != nil {
		w.t.Fatal(err)
	}
	return d
}
