package isolate

import (
	"os"
	"syscall"
)

// attributes put a worker into a process group of its own, and end it with its host: it has
// nothing to finish.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// expendable has the system end this process before any other when memory is short. It may be
// forbidden, and is only a preference.
func expendable() { _ = os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0) }
