package etcd

import "syscall"

// dies has a server end with the test that started it.
func dies() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
