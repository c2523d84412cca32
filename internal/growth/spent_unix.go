//go:build unix

package growth

import (
	"syscall"
	"time"
)

// spent returns how much time of processors this process has used.
func spent() time.Duration {
	var u syscall.Rusage
	must(syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
