package node

import (
	"errors"
	"slices"
	"testing"

	machines "hearth/compute/instance/client"
	"hearth/core/fault"
)

// An instance goes to the next host where one refuses it, and to no second one where
// something of it is reserved.
func TestWhichHostTakesAnInstance(t *testing.T) {
	full, refused, dear := fault.New(fault.HostFull, "no room"), fault.New(fault.HostRefused, "not now"), fault.New(fault.PriceTooHigh, "dear")
	gone := fault.New(fault.HostUnreachable, "silence")
	type answer struct {
		kept bool
		err  error
	}
	for _, tt := range []struct {
		name  string
		say   []answer
		asked int
		want  error
	}{
		{"the first takes it", []answer{{true, nil}, {true, nil}}, 1, nil},
		{"the first is full", []answer{{false, full}, {true, nil}}, 2, nil},
		{"two refuse", []answer{{false, full}, {false, refused}, {true, nil}}, 3, nil},
		{"all are full", []answer{{false, full}, {false, refused}}, 2, full},
		{"the next is too dear", []answer{{false, full}, {false, dear}, {true, nil}}, 2, full},
		{"one doesn't answer", []answer{{false, gone}, {true, nil}}, 1, gone},
		{"the next keeps what it doesn't start", []answer{{false, full}, {true, gone}, {true, nil}}, 2, gone},
		{"one refuses to start what is reserved there", []answer{{true, refused}, {true, nil}}, 1, refused},
	} {
		var asked []string
		hosts := []string{"a", "b", "c"}[:len(tt.say)]
		kept, err := firstTaker(hosts, func(host string) (i machines.Instance, err error) {
			say := tt.say[len(asked)]
			asked = append(asked, host)
			if say.kept {
				i.Name = "one"
			}
			return i, say.err
		})
		if last := tt.say[len(asked)-1]; (kept.Name != "") != last.kept {
			t.Errorf("%s: what is kept is %q", tt.name, kept.Name)
		}
		if !errors.Is(err, tt.want) || !slices.Equal(asked, hosts[:tt.asked]) {
			t.Errorf("%s: %v, after asking %q", tt.name, err, asked)
		}
	}
}
