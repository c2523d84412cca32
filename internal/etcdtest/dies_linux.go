package etcdtest

import "syscall"

// Dies has a server end with the test that started it.
func Dies() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
