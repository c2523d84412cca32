//go:build unix

package private

import (
	"fmt"
	"os"
	"syscall"
)

// ownedByUs refuses a directory that belongs to another user, who could make it
// writable at any time.
func ownedByUs(dir string, info os.FileInfo) error {
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to another user (uid %d)", dir, st.Uid)
	}
	return nil
}
