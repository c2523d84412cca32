package procs_test

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plinthkv/plinth/internal/carrier/procs"
)

// A folder whose host was killed together with the plugin is removed by the next host; one of
// a host that lives is not, nor is what only has such a name.
func TestFoldersThatWereAbandoned(t *testing.T) {
	tmp := t.TempDir()
	host, out := startHost(t, tmp, "memory", "")
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "open <nil>\n" {
		t.Fatalf("%q, %v", line, err)
	}
	abandoned, err := filepath.Glob(filepath.Join(tmp, "plinth*"))
	if err != nil || len(abandoned) != 1 {
		t.Fatalf("%q, %v", abandoned, err)
	}
	for _, signal := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGKILL} { // it is to see nothing of its plugin's end
		if signal == syscall.SIGKILL {
			for _, pid := range childrenOf(t, host.Process.Pid) {
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := host.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
	}
	_ = host.Wait() // it was killed
	if _, err := os.Stat(abandoned[0]); err != nil {
		t.Fatalf("the test says nothing: %v", err)
	}
	t.Setenv("TMPDIR", tmp)
	other := filepath.Join(tmp, "plinth12345")
	if err := os.Mkdir(other, 0o700); err != nil {
		t.Fatal(err)
	}
	lives := open(t, options(t, "memory"))
	open(t, options(t, "memory")) // of another plugin, which looks again
	if err := set(lives, "k", "v"); err != nil {
		t.Error(err)
	}
	left, err := filepath.Glob(filepath.Join(tmp, "plinth*"))
	if err != nil || len(left) != 3 || strings.Contains(strings.Join(left, " "), abandoned[0]) {
		t.Errorf("%q is left, %v; %s was abandoned", left, err, abandoned[0])
	}
	if _, err := os.Stat(other); err != nil {
		t.Errorf("what is none of ours is removed: %v", err)
	}
}

// childrenOf are the processes that a process has started.
func childrenOf(t *testing.T, pid int) (pids []int) {
	t.Helper()
	lists, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range lists {
		b, _ := os.ReadFile(list) // the thread may have ended
		for _, field := range strings.Fields(string(b)) {
			child, _ := strconv.Atoi(field)
			pids = append(pids, child)
		}
	}
	if len(pids) == 0 {
		t.Fatal("it has started nothing")
	}
	return pids
}

// A file system on which nothing may be executed is named.
func TestNoexec(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", unix.MS_NOEXEC, ""); err != nil {
		t.Skipf("mounting takes more rights than this test has: %v", err)
	}
	defer unix.Unmount(dir, 0)
	path := filepath.Join(dir, "plugin")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	o := options(t, "noexec")
	o.Command = []string{path}
	if _, err := procs.New(o); err == nil || !strings.Contains(err.Error(), "is mounted with noexec") {
		t.Errorf("%v", err)
	}
}
