package weather

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
	"testing"
	"time"

	"hearth/core/erasure"
	"hearth/core/fault"
	"hearth/core/money"
	"hearth/sdk"
)

var twoOfFour = erasure.Class{K: 2, N: 4}

func TestHostsThatDieDuringAnUploadAreReplacedBySpares(t *testing.T) {
	t.Parallel()
	w := start(t, 6, twoOfFour)
	b := content(1, 48*mib)
	o, err := w.api.Put(within(t, patient), bucket, "spares", midway(b, func() {
		w.Hosts[0].Kill()
		w.Hosts[1].Kill()
	}), int64(len(b)), sdk.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if o.Size != int64(len(b)) {
		t.Errorf("%d bytes are listed", o.Size)
	}
	w.mustRead(t, "spares", b)
	w.whole(t, patient, "spares", w.account(t, 0), w.account(t, 1))
}

func TestWithoutEnoughHostsNothingIsListedAndWhatWasPlacedIsFreed(t *testing.T) {
	t.Parallel()
	w := start(t, 4, twoOfFour)
	kept := content(2, 12*mib)
	w.put(t, "kept", kept)
	used, _, err := w.held()
	if err != nil {
		t.Fatal(err)
	}
	before := w.money(t)
	b := content(3, 48*mib)
	_, err = w.api.Put(within(t, patient), bucket, "lost", midway(b, func() {
		w.Hosts[0].Kill()
		w.Hosts[1].Kill()
	}), int64(len(b)), sdk.PutOptions{})
	wants(t, "put with two of four hosts", err, fault.NotEnoughHosts)
	if w.listed(t, "lost") {
		t.Error("it is listed")
	}
	w.mustRead(t, "kept", kept)
	w.run(t, w.Hosts[0])
	w.run(t, w.Hosts[1])
	w.freed(t, used)
	w.mustRead(t, "kept", kept)
	// What may be gone is the traffic that flowed, and a window paid ahead at each host.
	most := before.signed + traffic(2*uint64(len(b))+4*16*mib, uint64(len(kept))*2+4*16*mib) + 1000
	if after := w.money(t); after.signed > most {
		t.Errorf("%d uember are signed away, %d were before; more than %d", after.signed, before.signed, most)
	}
}

func TestADownloadSurvivesTheDeathOfHosts(t *testing.T) {
	t.Parallel()
	w := shared(t)
	b := content(4, 48*mib)
	w.put(t, "download", b)
	by, _ := w.shards(t, "download")
	in, err := w.api.Get(within(t, patient), bucket, "download", sdk.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	got := make([]byte, 4*mib)
	if _, err := io.ReadFull(in, got); err != nil {
		t.Fatal(err)
	}
	killed := 0
	for i := range w.Hosts {
		if killed < 2 && by[w.account(t, i)] > 0 {
			w.Hosts[i].Kill()
			killed++
		}
	}
	rest, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(append(got, rest...), b) {
		t.Error("other bytes came than were stored")
	}
}

func TestAClientThatDiesDuringAnUploadListsNothingAndPaysNothingTwice(t *testing.T) {
	t.Parallel()
	w := start(t, 5, twoOfFour)
	used, _, err := w.held()
	if err != nil {
		t.Fatal(err)
	}
	before := w.money(t)
	b := content(5, 48*mib)
	_, err = w.api.Put(within(t, patient), bucket, "half", midway(b, w.Client.Kill), int64(len(b)), sdk.PutOptions{})
	if err == nil {
		t.Fatal("the upload went on without a client")
	}
	w.run(t, w.Client)
	if w.listed(t, "half") {
		t.Error("half an object is listed")
	}
	w.freed(t, used)
	w.put(t, "half", b)
	w.mustRead(t, "half", b)
	after := w.money(t)
	in, out := after.received-before.received, after.served-before.served
	if most := traffic(in+5*8*mib, out+5*8*mib) + 100; after.signed-before.signed > most {
		t.Errorf("%d uember were signed for %d bytes in, %d out; at most %d are right", after.signed-before.signed, in, out, most)
	}
	soon(t, patient, "pay the hosts", func() error {
		if now := w.money(t); now.paid < after.signed {
			return fmt.Errorf("%d of %d uember are paid", now.paid, after.signed)
		}
		return nil
	})
}

// books is what the client's leases come to, and what hosts have counted since
// they were started.
type books struct {
	signed, paid     money.Amount
	received, served uint64
}

func (w *world) money(t *testing.T) (b books) {
	t.Helper()
	for l, err := range w.api.Leases(within(t, patient)) {
		if err != nil {
			t.Fatal(err)
		}
		signed, err1 := l.Signed.Value()
		paid, err2 := l.Paid.Value()
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		b.signed, b.paid = b.signed+signed, b.paid+paid
	}
	for i, p := range w.Hosts {
		if p.PID() == 0 {
			continue
		}
		h, err := w.host(i)
		if err != nil {
			t.Fatal(err)
		}
		b.received, b.served = b.received+uint64(h.Received), b.served+uint64(h.Served)
	}
	return b
}

// traffic is what so many bytes cost at the hosts of a local cloud: 0.001 ember
// for a GiB they receive, 0.005 for one they send.
func traffic(in, out uint64) money.Amount {
	const gib = 1 << 30
	return money.Amount(in*1000/gib + out*5000/gib)
}

func TestWorkGoesOnAroundALedgerThatDies(t *testing.T) {
	t.Parallel()
	w := shared(t)
	kept := content(6, 24*mib)
	w.put(t, "kept", kept)
	b := content(7, 48*mib)
	_, err := w.api.Put(within(t, patient), bucket, "through", midway(b, w.Ledger.Kill), int64(len(b)), sdk.PutOptions{})
	if err != nil {
		wants(t, "put while the ledger is down", err, fault.LedgerDown)
	}
	stored := err == nil
	if err := w.reads(within(t, patient), "kept", kept); err != nil {
		wants(t, "get while the ledger is down", err, fault.LedgerDown)
	}
	_, err = w.api.Wallet(within(t, patient))
	wants(t, "ask a ledger that is down", err, fault.LedgerDown)
	w.run(t, w.Ledger)
	if !stored {
		if w.listed(t, "through") {
			t.Error("it failed and is listed")
		}
		soon(t, patient, "put once the ledger is back", func() error {
			_, err := w.api.Put(within(t, patient), bucket, "through", bytes.NewReader(b), int64(len(b)), sdk.PutOptions{})
			return err
		})
	}
	soon(t, patient, "put something new", func() error {
		_, err := w.api.Put(within(t, patient), bucket, "after", bytes.NewReader(kept), int64(len(kept)), sdk.PutOptions{})
		return err
	})
	for key, want := range map[string][]byte{"kept": kept, "through": b, "after": kept} {
		w.mustRead(t, key, want)
	}
	owed := w.money(t).signed
	soon(t, patient, "settle", func() error {
		if now := w.money(t); now.paid < owed {
			return fmt.Errorf("%d of %d uember are paid", now.paid, owed)
		}
		return nil
	})
}

func TestADeafHostHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	w := shared(t)
	b := content(8, 24*mib)
	began := time.Now()
	w.put(t, "heard", b)
	w.mustRead(t, "heard", b)
	usual := time.Since(began)
	by, _ := w.shards(t, "heard")
	deaf := 0
	for by[w.account(t, deaf)] == 0 {
		deaf++
	}
	wake := w.deafen(t, deaf)
	began = time.Now()
	w.mustRead(t, "heard", b)
	down := time.Since(began)
	began = time.Now()
	w.put(t, "deaf", b)
	w.mustRead(t, "deaf", b)
	up := time.Since(began)
	wake()
	began = time.Now()
	w.put(t, "again", b)
	w.mustRead(t, "again", b)
	usual = max(usual, time.Since(began)) // the machine may be busier than before
	if down > 20*time.Second+5*usual {
		t.Errorf("one deaf host of six held a download up for %s; both ways take %s", down, usual)
	}
	if up > 60*time.Second+5*usual {
		t.Errorf("one deaf host of six held an upload up for %s; both ways take %s", up, usual)
	}
}

// deafen stops a host's process without ending it: connections stay, nobody answers.
// With wake it goes on.
func (w *world) deafen(t *testing.T, i int) (wake func()) {
	t.Helper()
	pid := w.Hosts[i].PID()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	wake = sync.OnceFunc(func() {
		if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		wake()
		w.Client.Stop(3 * time.Second) // which avoids that host for a while
	})
	return wake
}
