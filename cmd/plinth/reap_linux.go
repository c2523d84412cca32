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
// if this is process 1, as in a container, where no other process does. It stops with ctx.
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
				continue // no child has ended
			}
		}
		// A goroutine waits for each child that this process has started, and reaps it at
		// once: one that still exists at the next look is an orphan.
		now := endedChildren()
		for pid := range before {
			if now[pid] {
				_, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil) // it is gone, or will be
			}
		}
		before = now
	}
}

// endedChildren returns the children of this process that have ended and were not reaped.
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
