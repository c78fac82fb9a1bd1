package node

import (
	"path/filepath"
	"runtime"

	"hearth/api"
	"hearth/compute/host"
	"hearth/compute/wasm"
	"hearth/internal/program"
)

// functionWorker is the command that runs one module for the engine. It is that of the small
// program, which starts at once and needs little memory.
func functionWorker() ([]string, error) {
	path, err := program.Beside("hearth")
	return []string{path, wasm.WorkerCommand}, err
}

// allCores is this machine's, in 2^30ths.
func allCores() uint64 { return uint64(runtime.NumCPU()) << 30 }

// sellFunctions opens the engine and takes calls.
func (s *selling) sellFunctions() error {
	n := s.n
	worker, err := functionWorker()
	if err != nil {
		return err
	}
	s.engine, err = wasm.Open(wasm.Config{
		Dir: filepath.Join(n.dir, "data", "modules"), Program: worker, MaxPages: n.terms.functionPages, Log: n.log,
		Started: s.joinGroup,
	})
	if err != nil {
		return err
	}
	s.holdBack(s.held())
	s.calls, err = host.New(host.Config{
		Engine: s.engine, Meter: s.market, Leases: s.market, ChainID: n.ledger.ChainID(), Key: n.keys.Node(), MaxPages: n.terms.functionPages,
		Paused: s.closed, Registry: n.metrics, Log: n.log,
	})
	if err != nil {
		return err
	}
	n.net.Handle(host.Protocol, s.calls.Serve)
	return nil
}

// joinGroup has what runs functions held back with all else that is computed for others.
func (s *selling) joinGroup(pid int) {
	if err := s.group.Join(pid); err != nil {
		s.log.Warn("functions aren't held back", "err", err)
	}
}

// sold shows what this host has run of others' functions; nil: it sells none.
func (s *selling) sold() *api.Sold {
	if s.calls == nil {
		return nil
	}
	t := s.n.terms
	out := api.Sold{Prices: prices(t.functionPrice), Memory: int64(t.functionPages) * page}
	out.Calls, out.Gas = s.calls.Sold()
	return &out
}
