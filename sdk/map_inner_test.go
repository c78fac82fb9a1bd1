package sdk

import (
	"slices"
	"testing"

	"hearth/api"
)

// What nobody has signed but liars is computed anew, however many of them agree.
func TestWhatOnlyLiarsHaveSignedIsDoneAnew(t *testing.T) {
	m := &mapping{o: MapOptions{Tell: func(api.Mapped) {}}, by: map[int][]string{}, bad: map[int]api.MapFailure{}}
	cost := api.MoneyOf(1)
	for i, done := range []api.Called{
		{Witnesses: []string{"liar"}, Cost: cost},
		{Witnesses: []string{"honest"}, Cost: cost},
		{Witnesses: []string{"liar", "other liar"}, Cost: cost},
		{Witnesses: []string{"liar", "honest"}, Cost: cost},
		{Witnesses: []string{"liar", "other liar"}, Here: true, Cost: cost},
		{Here: true, Cost: cost}, // this machine alone was right
		{Witnesses: []string{"found before"}, Cost: cost},
	} {
		m.took(i, done)
	}
	known := api.Liars{Liars: []api.Liar{{Host: "found before"}}}
	now := api.Liars{Liars: []api.Liar{{Host: "found before"}, {Host: "liar"}}}
	if again := m.redo(known, now); !slices.Equal(again, []int{0}) {
		t.Errorf("done anew are %v", again)
	}
	now.Liars = append(now.Liars, api.Liar{Host: "other liar"})
	if again := m.redo(known, now); !slices.Equal(again, []int{2}) {
		t.Errorf("then %v", again)
	}
	if m.out.Done != 5 || m.out.Redone != 2 || m.out.Checked != 4 || !slices.Equal(m.out.Liars, []string{"liar", "other liar"}) {
		t.Errorf("%+v", m.out)
	}
	if again := m.redo(known, now); len(again) > 0 {
		t.Errorf("at last %v", again)
	}
}
