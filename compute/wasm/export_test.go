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
