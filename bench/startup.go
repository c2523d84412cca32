package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// The goal for the time from the start of "plinth serve" to its ready line, with
// compiled code in the cache.
const readyGoal = 150 * time.Millisecond

// startup measures how long serve takes to be ready: once with an empty cache of
// compiled code, then the least of some with a warm one.
func startup(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "plinth-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	bin := filepath.Join(dir, "plinth")
	build := exec.CommandContext(ctx, "go", "build", "-o", bin, "./cmd/plinth")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building plinth: %w\n%s", err, out)
	}
	cold, err := ready(ctx, bin, dir)
	if err != nil {
		return err
	}
	warm := time.Hour
	for range 5 {
		t, err := ready(ctx, bin, dir)
		if err != nil {
			return err
		}
		warm = min(warm, t)
	}
	mark := "met"
	if warm > readyGoal {
		mark = "missed"
	}
	fmt.Printf("\nplinth serve ready: %v with nothing compiled, %v from the cache (goal ≤ %v %s)\n",
		cold.Round(time.Millisecond), warm.Round(time.Millisecond), readyGoal, mark)
	return nil
}

func ready(ctx context.Context, bin, dir string) (time.Duration, error) {
	cmd := exec.CommandContext(ctx, bin, "serve", "--http", "unix:"+filepath.Join(dir, "bench.sock"), "--grpc", "unix:"+filepath.Join(dir, "bench-grpc.sock"))
	cmd.Env = append(os.Environ(), "PLINTH_CACHE_DIR="+filepath.Join(dir, "cache"))
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	taken := time.Since(start)
	if err == nil && !strings.Contains(line, "ready") {
		err = fmt.Errorf("serve said %q", line)
	}
	return taken, errors.Join(err, cmd.Process.Signal(syscall.SIGTERM), cmd.Wait())
}
