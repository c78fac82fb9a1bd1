package placement

import "hearth/core/fault"

// Passed checks a plain choice of one host that somebody else has made: it refuses
// a host that the wish doesn't allow beside those used, and otherwise lists the
// candidates that the draw would have put before it and the rules wouldn't have
// kept out. Of an honest chooser those were out of reach at the time.
func Passed(candidates []Candidate, w Wish, host string) ([]string, error) {
	if err := w.Class.Validate(); err != nil {
		return nil, fault.New(fault.CodeOf(err), "check a choice: %w", err)
	}
	w.Plain, w.Want, w.Spares = true, 1, 0
	fit, because := w.fit(candidates)
	rank(fit, w.Seed, true)
	r := rules{Wish: w, young: len(fit) + len(w.Used)}
	beside := func(c Candidate) (Reason, bool) {
		p := &pick{taken: map[string]bool{}, regions: map[string]int{}}
		for _, u := range w.Used {
			p.add(r, u)
		}
		return r.allow(p, c, len(fit)+len(w.Used)+1)
	}
	var passed []string
	for _, c := range fit {
		why, ok := beside(c)
		switch {
		case c.Host == host && !ok:
			return nil, fault.New(fault.BadRequest, "check a choice: %s isn't allowed there: such hosts %s", host, why)
		case c.Host == host:
			return passed, nil
		case ok:
			passed = append(passed, c.Host)
		}
	}
	for _, why := range reasons {
		if because[why] > 0 {
			return nil, fault.New(fault.BadRequest, "check a choice: %s isn't among those that may be chosen; %d others %s", host, because[why], why)
		}
	}
	return nil, fault.New(fault.BadRequest, "check a choice: %s isn't known", host)
}
