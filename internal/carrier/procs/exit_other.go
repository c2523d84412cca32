//go:build unix && !linux

package procs

// waitFor waits until the process has ended, and ends what it has started. Its number
// might be another's by then, in theory.
func (r *process) waitFor() error {
	err := r.cmd.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.killAll()
	r.reaped = true
	return err
}
