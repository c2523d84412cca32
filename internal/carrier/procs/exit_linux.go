package procs

import (
	"errors"

	"golang.org/x/sys/unix"
)

// waitFor waits until the process has ended, and kills the processes that it has started,
// before its number can be reused.
func (r *process) waitFor() error {
	for errors.Is(unix.Waitid(unix.P_PID, r.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.killAll()
	r.reaped = true
	return r.cmd.Wait()
}
