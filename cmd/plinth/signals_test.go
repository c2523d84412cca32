package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
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
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		serve, _, _ := startServe(t)
		if err := syscall.Kill(-serve.Process.Pid, s); err != nil {
			t.Fatal(err)
		}
		if code := ends(t, serve); code != 0 {
			t.Errorf("after %v: exit code %d", s, code)
		}
	}
}

// A service manager sends SIGTERM to all processes of a service at once, under load: every
// write is either done or refused, and the plugin ends after its host has closed it.
func TestSignalToAllProcesses(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "plinth.yaml")
	if err := os.WriteFile(config, []byte("plugins: { memory: { isolation: process } }\nstores: { default: { backend: { plugin: memory } } }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	serve, _, url := startServe(t, "--config", config)
	var wg sync.WaitGroup
	var written atomic.Int64
	stop := make(chan struct{})
	for range 8 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				req, err := http.NewRequest(http.MethodPut, url+"/v1/stores/default/keys/k", strings.NewReader("v"))
				if err != nil {
					t.Error(err)
					return
				}
				res, err := http.DefaultClient.Do(req)
				if err != nil {
					return // it takes no more connections
				}
				body, _ := io.ReadAll(res.Body)
				res.Body.Close()
				switch {
				case res.StatusCode == http.StatusNoContent:
					written.Add(1)
				case res.StatusCode != http.StatusServiceUnavailable:
					t.Errorf("a write: %s: %s", res.Status, body)
					return
				}
			}
		})
	}
	for end := time.Now().Add(10 * time.Second); written.Load() < 100 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	children, err := exec.Command("pgrep", "--parent", strconv.Itoa(serve.Process.Pid)).Output()
	if err != nil {
		t.Skipf("the processes of the host cannot be listed: %v", err)
	}
	pids := strings.Fields(string(children))
	if len(pids) != 1 || written.Load() == 0 {
		t.Fatalf("%d plugins run, %d writes were done: the test says nothing", len(pids), written.Load())
	}
	plugin, _ := strconv.Atoi(pids[0])
	for _, pid := range []int{plugin, serve.Process.Pid} { // the plugin first
		if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	if code := ends(t, serve); code != 0 {
		t.Errorf("exit code %d", code)
	}
	close(stop)
	wg.Wait()
	if err := syscall.Kill(plugin, 0); err == nil {
		t.Error("the plugin is still there")
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

// A signal while plugins are being opened ends the start in one line, and is no error.
func TestEndedBeforeReady(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out strings.Builder
	e := env{stdin: strings.NewReader(""), stdout: &out, stderr: &out, environ: []string{"PLINTH_CACHE_DIR=" + t.TempDir()}}
	if code := run(ctx, []string{"serve", "--http", "127.0.0.1:0", "--grpc", ""}, e); code != exitDone || out.String() != "plinth: stopped before it was ready\n" {
		t.Errorf("exit code %d, and says %q", code, out.String())
	}
}

// A second signal ends at once what the first has asked to end.
func TestSecondSignal(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "plinth.yaml")
	if err := os.WriteFile(config, []byte("stores: { default: { backend: { plugin: memory } } }\nserver: { shutdown_delay: 5m }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	serve, _, url := startServe(t, "--config", config)
	if err := serve.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) { // it has heard the first
		res, err := http.Get(url + "/readyz")
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusServiceUnavailable {
				break
			}
		}
		if time.Now().After(end) {
			t.Fatal("it is still ready")
		}
	}
	if err := serve.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := ends(t, serve); code == 0 {
		t.Errorf("it ended as if it had waited: %d", code)
	}
}

// SIGTERM in the middle of reloads that replace a backend is a shutdown as any.
func TestSignalDuringReloads(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "plinth.yaml")
	write := func(n int) {
		yaml := fmt.Sprintf("plugins: { memory: { isolation: process } }\nstores: { default: { backend: { plugin: memory, on_swap: transfer, config: { max_bytes: %dMiB } } } }\n", 16+n%2)
		if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
			t.Error(err)
		}
	}
	for round := range 4 {
		write(0)
		serve, _, url := startServe(t, "--config", file)
		var reloads atomic.Int64
		var wg sync.WaitGroup
		wg.Go(func() {
			for n := 1; ; n++ {
				write(n)
				res, err := http.Post(url+"/v1/admin/reload", "", nil)
				if err != nil {
					return // it takes no more connections
				}
				res.Body.Close()
				if res.StatusCode == http.StatusOK {
					reloads.Add(1)
				}
			}
		})
		for end := time.Now().Add(30 * time.Second); reloads.Load() < 2; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("it does not reload")
			}
		}
		time.Sleep(time.Duration(round) * 7 * time.Millisecond) // to meet other parts of a reload
		if err := serve.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if code := ends(t, serve); code != 0 {
			t.Errorf("exit code %d", code)
		}
		wg.Wait()
	}
}
