//go:build unix && !linux

package frames

import (
	"errors"
	"syscall"
)

func readNow(fd uintptr, b []byte) (int, syscall.Errno) {
	n, err := syscall.Read(int(fd), b)
	return number(n, err)
}

func writeNow(fd uintptr, b []byte) (int, syscall.Errno) {
	n, err := syscall.Write(int(fd), b)
	return number(n, err)
}

func number(n int, err error) (int, syscall.Errno) {
	var no syscall.Errno
	if errors.As(err, &no) {
		return 0, no
	}
	return n, 0
}
