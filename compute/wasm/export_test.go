package wasm

// Interpreted makes the workers of an engine interpret.
func (e *Engine) Interpreted() { e.interpreted = true }

// Pids are the processes of the workers, by module.
func (e *Engine) Pids() map[[32]byte]int {
	e.mu.Lock()
	defer e.mu.Unlock()
	pids := map[[32]byte]int{}
	for d, l := range e.lines {
		if l.worker == nil {
			continue
		}
		l.worker.mu.Lock()
		if l.worker.cmd != nil {
			pids[d] = l.worker.cmd.Process.Pid
		}
		l.worker.mu.Unlock()
	}
	return pids
}

// Confine and Seal are what a worker does to itself.
func Confine() ([]string, error) { return confine(1 << 30) }

// Seal is the second half.
func Seal() []string { return seal() }

// Dir is where the engine keeps modules.
func (e *Engine) Dir() string { return e.c.Dir }

// Calls is how many run.
func (e *Engine) Calls() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.calls
}

// Pending is how many calls a module's worker has been given and hasn't answered.
func (e *Engine) Pending(module [32]byte) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	l := e.lines[module]
	if l == nil || l.worker == nil {
		return 0
	}
	l.worker.mu.Lock()
	defer l.worker.mu.Unlock()
	return len(l.worker.pending)
}

// Start has the thread that starts workers do something.
func (e *Engine) Start(f func()) {
	done := make(chan struct{})
	e.starts <- func() { f(); close(done) }
	<-done
}
