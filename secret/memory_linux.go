package secret

import "golang.org/x/sys/unix"

// noDump keeps memory out of core dumps and out of children.
func noDump(b []byte) {
	_ = unix.Madvise(b, unix.MADV_DONTDUMP)
	_ = unix.Madvise(b, unix.MADV_DONTFORK)
}
