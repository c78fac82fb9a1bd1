package server

import (
	"strconv"
	"testing"
	"time"

	"hearth/core/fault"
)

func TestEndedTransfersMakeRoom(t *testing.T) {
	now := time.Unix(1000, 0)
	all := newTransfers(func() time.Time { return now })
	begin := func(id string) *transfer {
		t.Helper()
		one, err := all.begin(id, "get", "b", "k", 1)
		if err != nil {
			t.Fatal(err)
		}
		return one
	}
	running := begin("running")
	for i := range 3 * transfersMax { // far more than are kept, within one moment
		begin(strconv.Itoa(i)).end(now, nil)
	}
	if one, ok := all.find("running"); !ok || one != running {
		t.Error("a transfer that goes on was forgotten")
	}
	if _, ok := all.find(strconv.Itoa(3*transfersMax - 1)); !ok {
		t.Error("the newest that ended was forgotten")
	}
	if _, ok := all.find("0"); ok || len(all.known) > transfersMax {
		t.Errorf("%d transfers are kept", len(all.known))
	}
	now = now.Add(2 * transferKept)
	begin("later")
	if len(all.known) != 2 || len(all.ended) != 0 {
		t.Errorf("%d transfers are kept after their time, %d of them ended", len(all.known), len(all.ended))
	}
}

func TestANameIsUsedAgainOnceItsTransferHasEnded(t *testing.T) {
	now := time.Unix(1000, 0)
	all := newTransfers(func() time.Time { return now })
	first, err := all.begin("x", "get", "b", "k", 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := all.begin("x", "get", "b", "k", 1); fault.CodeOf(err) != fault.Exists {
		t.Fatalf("twice at once: %v", err)
	}
	first.end(now, nil)
	second, err := all.begin("x", "get", "b", "k", 1)
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(2 * transferKept)
	if _, err := all.begin("y", "get", "b", "k", 1); err != nil {
		t.Fatal(err)
	}
	if one, ok := all.find("x"); !ok || one != second {
		t.Error("with the first of its name the second was forgotten")
	}
}

func TestSoManyTransfersAtOnce(t *testing.T) {
	all := newTransfers(time.Now)
	for i := range transfersMax {
		if _, err := all.begin(strconv.Itoa(i), "get", "b", "k", 1); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := all.begin("more", "get", "b", "k", 1); fault.CodeOf(err) != fault.Busy {
		t.Errorf("one more: %v", err)
	}
}
