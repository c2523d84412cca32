package procs

import (
	"errors"
	"os/exec"

	"golang.org/x/sys/unix"
)

// waitFor waits until the process has ended and calls killAll before its number
// can be another's.
func waitFor(cmd *exec.Cmd, killAll func()) error {
	for errors.Is(unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
	}
	killAll()
	return cmd.Wait()
}
