package node

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/money"
)

func book(t *testing.T, path string) *earnings {
	t.Helper()
	e, err := openEarnings(path, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.close() })
	return e
}

func came(e *earnings) money.Amount {
	n, _ := e.total(nil)
	return n
}

// What is earned counts every payment once: those of leases that the ledger has
// forgotten, and those that the book doesn't have yet.
func TestWhatIsEarnedIsOnTheLedgerOrInTheBook(t *testing.T) {
	e := book(t, filepath.Join(t.TempDir(), "earnings"))
	for _, l := range []lease.Lease{{ID: 1, Out: 100, Commission: 10}, {ID: 2, Out: 55, Commission: 5}} {
		if err := e.take(l, time.Unix(1, 0)); err != nil {
			t.Fatal(err)
		}
	}
	onLedger := []lease.Lease{{ID: 2, Out: 75, Commission: 7}, {ID: 3, Out: 9}} // the first is pruned
	if net, cut := e.total(onLedger); net != 90+68+9 || cut != 17 {
		t.Errorf("%d earned, %d commission", net, cut)
	}
	for _, l := range onLedger {
		if err := e.take(l, time.Unix(2, 0)); err != nil {
			t.Fatal(err)
		}
	}
	if net, cut := e.total(onLedger); net != 90+68+9 || cut != 17 {
		t.Errorf("written down: %d earned, %d commission", net, cut)
	}
	if net, cut := e.total([]lease.Lease{{ID: 2, Out: 60, Commission: 6}}); net != 167 || cut != 17 {
		t.Errorf("an old answer changes it: %d, %d", net, cut)
	}
}

// Each payment is one line, however often the ledger is asked, and a restart
// neither loses one nor counts one twice.
func TestEveryPaymentIsWrittenDownOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data", "earnings")
	e := book(t, path)
	at := time.Unix(1_000_000, 0)
	for i, l := range []lease.Lease{
		{ID: 1, Client: "c", Out: 100, Commission: 10},
		{ID: 1, Client: "c", Out: 100, Commission: 10},
		{ID: 2, Client: "d", Out: 55, Commission: 5},
		{ID: 1, Client: "c", Out: 109, Commission: 10},
	} {
		if err := e.take(l, at.Add(time.Duration(i)*time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if came(e) != 90+50+9 {
			t.Errorf("%d were earned", came(e))
		}
		all, err := e.since(time.Time{})
		if err != nil || len(all.Earnings) != 3 || all.Net.Amount != "0.000149" {
			t.Errorf("%+v, %v", all, err)
		}
		late, err := e.since(at.Add(2 * time.Hour))
		if err != nil || len(late.Earnings) != 2 || late.Earnings[1].Gross.Amount != "0.000009" {
			t.Errorf("late: %+v, %v", late, err)
		}
		e.close()
		e = book(t, path)
	}
	if err := e.take(lease.Lease{ID: 1, Client: "c", Out: 109, Commission: 10}, at); err != nil || came(e) != 149 {
		t.Errorf("asked again it is paid again: %d, %v", came(e), err)
	}
}

func TestATornLineIsWrittenAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "earnings")
	e := book(t, path)
	l := lease.Lease{ID: 1, Out: 100, Commission: 10}
	if err := e.take(l, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	e.close()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b[:len(b)-7], 0o600); err != nil {
		t.Fatal(err)
	}
	e = book(t, path)
	if came(e) != 0 {
		t.Errorf("half a line counts %d", came(e))
	}
	if err := e.take(l, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	e.close()
	if e = book(t, path); came(e) != 90 {
		t.Errorf("%d", came(e))
	}
}

// fullDisk takes half of a line, and can't take it back while it is full.
type fullDisk struct {
	bookFile
	full, torn bool
}

func (f *fullDisk) Write(b []byte) (int, error) {
	if !f.full {
		return f.bookFile.Write(b)
	}
	f.torn = true
	n, _ := f.bookFile.Write(b[:len(b)/2])
	return n, syscall.ENOSPC
}

func (f *fullDisk) Truncate(size int64) error {
	if f.full && f.torn {
		return syscall.ENOSPC
	}
	return f.bookFile.Truncate(size)
}

// A disk without room costs no line of the book, then or later.
func TestAFullDiskTearsNoBook(t *testing.T) {
	path := filepath.Join(t.TempDir(), "earnings")
	e := book(t, path)
	disk := &fullDisk{bookFile: e.f}
	e.f = disk
	at := time.Unix(1, 0)
	first, second := lease.Lease{ID: 1, Out: 100, Commission: 10}, lease.Lease{ID: 2, Out: 50, Commission: 5}
	if err := e.take(first, at); err != nil {
		t.Fatal(err)
	}
	disk.full = true
	if err := e.take(second, at); err == nil || came(e) != 90 {
		t.Errorf("%v, %d earned", err, came(e))
	}
	disk.full = false
	if err := e.take(second, at); err != nil {
		t.Fatal(err)
	}
	e.close()
	if e = book(t, path); came(e) != 135 {
		t.Errorf("%d earned", came(e))
	}
}

func TestABookOfAnotherFormatIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "earnings")
	for content, code := range map[string]fault.Code{
		`{"format":"hearth earnings","version":2}` + "\n": fault.UnknownFormat,
		earningsHead + "nonsense\n":                       fault.DamagedFile,
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := openEarnings(path, nil, slog.New(slog.DiscardHandler)); fault.CodeOf(err) != code {
			t.Errorf("%q: %v", content, err)
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != content {
			t.Error("it was changed")
		}
	}
}

// What is paid is read with its proof, and again when the ledger was silent.
func TestPaymentsAreProved(t *testing.T) {
	asked := 0
	e, err := openEarnings(filepath.Join(t.TempDir(), "earnings"), func(_ context.Context, id uint64) (lease.Lease, error) {
		asked++
		switch {
		case asked == 1:
			return lease.Lease{}, fault.New(fault.LedgerDown, "nobody answers")
		case id == 2:
			return lease.Lease{}, fault.New(fault.NoLease, "pruned")
		}
		return lease.Lease{ID: id, Out: 100, Commission: 10}, nil
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer e.close()
	e.look(1, 2)
	if e.lookOnce(context.Background()) == nil || came(e) != 0 {
		t.Error("a silent ledger counts as paid")
	}
	if err := e.lookOnce(context.Background()); err != nil || came(e) != 90 || len(e.looks) != 0 {
		t.Errorf("%d earned, %d to look at, %v", came(e), len(e.looks), err)
	}
}
