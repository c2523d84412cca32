package pgtest

import "syscall"

// endWithUs has the system end a server with the test, also where that panics: by the signal
// with which a server ends at once, and its children with it.
func endWithUs(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGQUIT }
