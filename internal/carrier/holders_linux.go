package carrier

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// holders names the processes that have a folder open, as far as this user may know.
func holders(dir string) string {
	var pids []string
	all, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, fd := range all {
		pid := strings.Split(fd, "/")[2]
		if target, err := os.Readlink(fd); err == nil && target == dir && pid != strconv.Itoa(os.Getpid()) && !slices.Contains(pids, pid) {
			pids = append(pids, pid)
		}
	}
	if len(pids) == 0 {
		return ""
	}
	return " (" + strings.Join(pids, ", ") + ")"
}
