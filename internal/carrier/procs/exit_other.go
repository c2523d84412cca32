//go:build unix && !linux

package procs

// waitFor waits until the process has ended, and kills the processes that it has started. In
// theory, its number may have been reused by then.
func (r *process) waitFor() error {
	err := r.cmd.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.killAll()
	r.reaped = true
	return err
}
