package procs

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/plinthkv/plinth/storage"
)

// attributes returns those of a process: a group of its own, and a signal when the host is gone,
// for those that do not notice by themselves. It comes when the thread ends that started the
// process: those of a Go program last as long as the program.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

// expendable is by how much the system prefers to end a plugin to its host when there is no
// memory left, of 1000.
const expendable = 500

// limit bounds the memory of a process that was just started, if there is a limit, and has
// the system end it before the host when memory is short.
func (r *process) limit(memory uint64) error {
	pid := r.cmd.Process.Pid
	own, err := os.ReadFile("/proc/self/oom_score_adj")
	if n, bad := strconv.Atoi(strings.TrimSpace(string(own))); err == nil && bad == nil {
		// It may be forbidden, and is only a preference.
		_ = os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte(strconv.Itoa(min(n+expendable, 1000))), 0)
	}
	if memory == 0 {
		return nil
	}
	return unix.Prlimit(pid, unix.RLIMIT_DATA, &unix.Rlimit{Cur: memory, Max: memory}, nil)
}

// canLimit reports whether the memory of processes can be limited here.
func canLimit() *storage.Error { return nil }

// noexec reports whether a file that may be executed by its mode is on a file system where none
// may be.
func noexec(path string) bool {
	info, err := os.Stat(path)
	var fs unix.Statfs_t
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 && unix.Statfs(path, &fs) == nil && fs.Flags&unix.ST_NOEXEC != 0
}
