package main

import (
	"bytes"
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// reapOrphans reaps the processes that become this one's children when their parents end,
// if this is process 1, as in a container: nobody else does. It stops with ctx.
func reapOrphans(ctx context.Context) {
	if os.Getpid() != 1 {
		return
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD)
	defer signal.Stop(ended)
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	var before map[int]bool // that had ended at the last look
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if len(before) == 0 {
			select {
			case <-ended:
			default:
				continue // nobody has ended
			}
		}
		// A child that this process has started is reaped at once by who waits for it: what
		// is still there at the next look is nobody's.
		now := endedChildren()
		for pid := range before {
			if now[pid] {
				_, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil) // it is gone, or will be
			}
		}
		before = now
	}
}

// endedChildren are the children of this process that nobody has waited for.
func endedChildren() map[int]bool {
	ended := map[int]bool{}
	lists, _ := filepath.Glob("/proc/self/task/*/children")
	for _, list := range lists {
		b, _ := os.ReadFile(list) // the thread may have ended
		for _, field := range bytes.Fields(b) {
			pid, err := strconv.Atoi(string(field))
			if err != nil {
				continue
			}
			stat, _ := os.ReadFile("/proc/" + string(field) + "/stat")
			if i := bytes.LastIndexByte(stat, ')'); i > 0 && bytes.HasPrefix(stat[i:], []byte(") Z")) {
				ended[pid] = true
			}
		}
	}
	return ended
}
