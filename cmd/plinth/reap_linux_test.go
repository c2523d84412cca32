package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// As process 1 of a container, the host reaps what no other process waits for.
func TestReapsAsProcess1(t *testing.T) {
	if out, err := exec.Command("unshare", "--pid", "--fork", "--mount-proc", "true").CombinedOutput(); err != nil {
		t.Skipf("a namespace of processes takes rights that this user does not have: %v: %s", err, out)
	}
	serve, _, _ := startServe(t, "--log", "text")
	_ = serve.Process.Kill()
	_ = serve.Wait() // it only filled the cache of compiled code

	inside := exec.Command("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", os.Args[0], "serve", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
	inside.Env = append(os.Environ(), "PLINTH_CACHE_DIR="+sharedCache(t), "GORACE=atexit_sleep_ms=0", asProgram+"=1")
	out, err := inside.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := inside.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = inside.Process.Kill()
		_ = inside.Wait() // it was killed
	}()
	if b := make([]byte, 15); true {
		if _, err := out.Read(b); err != nil || string(b) != "plinth: ready o" {
			t.Fatalf("%q, %v", b, err)
		}
	}
	children := fmt.Sprintf("/proc/%d/task/%d/children", inside.Process.Pid, inside.Process.Pid)
	first, err := os.ReadFile(children)
	if err != nil {
		t.Fatal(err)
	}
	host := strings.TrimSpace(string(first)) // process 1 inside
	// Its parent ends before it: then it is process 1's child, and ends itself.
	if out, err := exec.Command("nsenter", "--target", host, "--pid", "--mount", "sh", "-c", "(sleep 0.2; true) & (sleep 0.2; true) &").CombinedOutput(); err != nil {
		t.Skipf("the namespace cannot be entered: %v: %s", err, out)
	}
	time.Sleep(500 * time.Millisecond)
	left := func() string {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%s/task/%s/children", host, host))
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(b))
	}
	if left() == "" {
		t.Fatal("there is nothing to reap: the test says nothing")
	}
	for end := time.Now().Add(20 * time.Second); left() != ""; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s are not reaped", left())
		}
	}
}
