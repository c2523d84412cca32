package main

import (
	"bufio"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startServe runs "plinth serve" as a process of its own, and waits until it is ready. It
// gives what comes after on standard output and standard error.
func startServe(t *testing.T, args ...string) (serve *exec.Cmd, out *os.File, url string) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	serve = exec.Command(os.Args[0])
	serve.Args = append([]string{"plinth", "serve", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"}, args...)
	serve.Env = append(os.Environ(), "PLINTH_CACHE_DIR="+sharedCache(t), "GORACE=atexit_sleep_ms=0", asProgram+"=1")
	serve.Stdout, serve.Stderr = w, w
	serve.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = serve.Process.Kill(); r.Close() })
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("it ended before it was ready: %v", err)
		}
		if _, rest, ok := strings.Cut(line, "plinth: ready on "); ok {
			url, _, _ = strings.Cut(rest, " ")
			return serve, r, url
		}
	}
}

// ends waits for the process, and gives its exit code.
func ends(t *testing.T, p *exec.Cmd) int {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- p.Wait() }()
	select {
	case <-ended: // the code says how
	case <-time.After(30 * time.Second):
		t.Fatal("it does not end")
	}
	return p.ProcessState.ExitCode()
}

// Each signal by which a service is ended, sent to the whole group, is a shutdown.
func TestSignalsEndServing(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		serve, _, _ := startServe(t)
		if err := syscall.Kill(-serve.Process.Pid, s); err != nil {
			t.Fatal(err)
		}
		if code := ends(t, serve); code != 0 {
			t.Errorf("after %v: exit code %d", s, code)
		}
	}
}

// "plinth serve 2>&1 | head -1": a reader of the output that has gone ends no server.
func TestOutputThatNobodyReads(t *testing.T) {
	serve, out, url := startServe(t)
	out.Close()
	for range 3 { // an unknown plugin's answer is logged
		res, err := http.Get(url + "/v1/stores/default/keys?limit=1")
		if err != nil {
			t.Fatalf("it does not serve: %v", err)
		}
		res.Body.Close()
	}
	if err := serve.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := ends(t, serve); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
