package node

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"hearth/api"
	machines "hearth/compute/instance/host"
	"hearth/compute/throttle"
	"hearth/core/quote"
	"hearth/internal/owner"
	"hearth/internal/terminal"
)

// held is what the owner allows at one moment, and what follows for strangers' programs.
type held struct {
	allowance
	pace
	sign string // by which somebody uses the machine
}

// held is what holds now.
func (s *selling) held() held {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := time.Now()
	now := held{allowance: s.limits.at(t)}
	active := false
	if s.limits.watches() {
		now.sign, active = s.watch.Active(t, s.limits.activeFor)
	}
	now.pace = s.limits.pace(now.allowance, active)
	return now
}

// watchOwner looks whether somebody uses the machine, where anything hangs on it.
func (s *selling) watchOwner() {
	s.mu.Lock()
	wanted := s.limits.watches() && owner.Known
	s.mu.Unlock()
	if !wanted {
		return
	}
	facts, err := owner.Gather()
	if err != nil {
		s.log.Warn("watch for the owner", "err", err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if facts.At.After(s.looked) {
		s.watch, s.looked = s.watch.Look(facts), facts.At
	}
}

// groupName is that of the control group of the host whose folder is dir.
func groupName(dir string) string {
	if full, err := filepath.Abs(dir); err == nil {
		dir = full
	}
	sum := sha256.Sum256([]byte(dir))
	return "hearth-" + hex.EncodeToString(sum[:4])
}

// openGroup gives what holds back all that is computed for others; nil where this user
// has no control groups.
func openGroup(dir string) *throttle.Group {
	if os.Geteuid() != 0 {
		return nil
	}
	return throttle.Open(throttle.Mount, groupName(dir))
}

// LeaveGroup removes the control group of the host whose folder is dir and which doesn't
// run any more: one that was killed leaves it behind.
func LeaveGroup(dir string) { openGroup(dir).Close() }

// holdBack has what runs keep to what holds now.
func (s *selling) holdBack(now held) {
	own := func(string) (uint64, bool) { return 0, false }
	if s.machines != nil {
		own = s.machines.Cores
	}
	err := s.group.Set(now.cpu, now.slow, own)
	if err != nil {
		s.log.Warn("limits", "err", err)
	}
	if s.engine != nil {
		most, _ := s.callsAtOnce(now)
		s.engine.Limit(most)
	}
	word := now.word()
	s.mu.Lock()
	news := s.pace != word
	s.pace = word
	if err == nil {
		s.bound = now.cpu
	}
	s.mu.Unlock()
	if news {
		s.log.Info("what is computed for others", "pace", word, "cpu", now.cpu, "memory", now.memory, "sign", now.sign)
	}
}

// gives is what of this machine is rented out at most, at this moment.
func (s *selling) gives(now held) quote.Units {
	all := s.n.terms.machine
	if now.cpu > 0 {
		all[0] = min(all[0], now.cpu*quote.GiB/1000)
	}
	if now.memory > 0 {
		all[1] = min(all[1], now.memory)
	}
	return all
}

// reserved is what instances have of this machine.
func (s *selling) reserved() quote.Units {
	if s.machines == nil {
		return quote.Units{}
	}
	return s.machines.Reserved()
}

// callsAtOnce is how many calls of functions may run at once, 0 for as many as there
// are; without room not even one may.
func (s *selling) callsAtOnce(now held) (most int, room bool) {
	return callsAtOnce(now, s.group != nil, s.reserved()[1], uint64(s.n.terms.functionPages)*page)
}

// callsAtOnce goes by what instances have reserved, and by the memory that a call may
// have. Where nothing weighs what runs, one call at once has to do for slow.
func callsAtOnce(now held, weighed bool, reserved, call uint64) (most int, room bool) {
	least := func(n uint64) {
		if n = max(n, 1); most == 0 || n < uint64(most) {
			most = int(min(n, 1<<20))
		}
	}
	if now.cpu > 0 {
		least((now.cpu + 999) / 1000)
	}
	if now.slow && !weighed {
		least(1)
	}
	if now.memory == 0 {
		return most, true
	}
	n := (now.memory - min(now.memory, reserved)) / call
	least(n)
	return most, n > 0
}

// closed says whether no new call is taken now.
func (s *selling) closed() bool {
	now := s.held()
	_, room := s.callsAtOnce(now)
	return now.closed || !room
}

// rule is what instances may have now.
func (s *selling) rule() machines.Rule {
	now := s.held()
	r := machines.Rule{All: s.gives(now), Closed: now.closed}
	if s.group != nil { // else it is no bound that is lifted again
		r.CPU = now.cpu
		s.mu.Lock()
		if s.bound > 0 && (r.CPU == 0 || s.bound < r.CPU) {
			r.CPU = s.bound // more is allowed from now on, and the group above doesn't have it yet
		}
		s.mu.Unlock()
	}
	if now.frozen {
		r.Held = "the host's owner is using the machine"
	}
	return r
}

// limitsNow shows what holds, and what of it can't be kept.
func (s *selling) limitsNow() api.LimitsNow {
	now := s.held()
	s.mu.Lock()
	all := s.limits
	s.mu.Unlock()
	functions := s.n.terms.functions
	out := now.show(now.pace, now.sign)
	out.Notes = notes(now, all, s.group != nil, s.machines != nil, functions, s.reserved())
	if _, room := s.callsAtOnce(now); !room && functions {
		out.Notes = append(out.Notes, "no calls of functions are taken: one may have "+terminal.Size(uint64(s.n.terms.functionPages)*page)+" of memory, and less is left")
	}
	return out
}

// show is what is allowed, for people and programs that ask.
func (a allowance) show(p pace, sign string) api.LimitsNow {
	return api.LimitsNow{Up: a.Up, Down: a.Down, Paused: a.Paused, CPU: a.cpu, Memory: a.memory, Compute: p.word(), Active: sign}
}

const noGroups = ": this system gives hearth no control groups (they take root, on Linux)"

// notes say what can't be kept as it is wished.
func notes(now held, all limits, grouped, instances, functions bool, reserved quote.Units) (out []string) {
	slows := all.when == paceSlow
	if (now.cpu > 0 || slows) && !grouped && instances {
		out = append(out, "what runs in instances isn't slowed down"+noGroups)
	}
	if now.cpu > 0 && !grouped && functions {
		out = append(out, fmt.Sprintf("functions run %d at once at most, beside instances%s", (now.cpu+999)/1000, noGroups))
	}
	if slows && !grouped && functions {
		out = append(out, "slow, functions run one at a time, and no slower"+noGroups)
	}
	if cores := reserved[0] * 1000 / quote.GiB; now.cpu > 0 && cores > now.cpu {
		out = append(out, fmt.Sprintf("instances have reserved %s cores and share %s: they stay, and no more are taken", coresText(cores), coresText(now.cpu)))
	}
	if now.memory > 0 && reserved[1] > now.memory {
		out = append(out, "instances have reserved "+terminal.Size(reserved[1])+" of memory and keep it, it is signed; no more are taken")
	}
	if all.watches() && !owner.Known {
		out = append(out, "whether somebody uses this machine isn't known on "+runtime.GOOS+": nothing is slowed or paused for that")
	}
	return out
}

func coresText(thousandths uint64) string {
	return strconv.FormatFloat(float64(thousandths)/1000, 'g', 4, 64)
}
