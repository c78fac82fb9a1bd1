package client

import (
	"reflect"
	"testing"

	"hearth/core/fault"
	"hearth/core/instance"
)

// A record that nobody wants gone is what older programs read too.
func TestRecordsAreReadAsTheyWereWritten(t *testing.T) {
	i := Instance{
		Name: "web", ID: instance.ID{1, 2}, Host: "hearth1host", Lease: 7, Image: "app:1", Created: 1_900_000_000,
		Spec: instance.Spec{Image: [32]byte{1}, CPU: 500, Memory: 64 << 20, Disk: 1 << 20, Pids: 16},
	}
	for since, version := range map[int64]byte{0: 1, 1_900_000_100: 2} {
		i.Leaving = since
		b := i.encode()
		if got, err := decode(b); err != nil || b[0] != version || !reflect.DeepEqual(got, i) {
			t.Errorf("version %d: %+v, %v", b[0], got, err)
		}
		for what, bad := range map[string][]byte{"cut off": b[:len(b)-1], "with more behind it": append(b, 0), "none": nil} {
			if _, err := decode(bad); fault.CodeOf(err) != fault.BadFrame {
				t.Errorf("version %d, %s: %v", version, what, err)
			}
		}
		b[0] = 3
		if _, err := decode(b); fault.CodeOf(err) != fault.UnknownFormat {
			t.Errorf("of a later program: %v", err)
		}
	}
}
