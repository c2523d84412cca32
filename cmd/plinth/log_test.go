package main

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// As JSON every line is an object, the first and the last too, and a duration is a number
// whose unit is in its name.
func TestLogsAsJSON(t *testing.T) {
	out, end := servedInJSON(t, "--http", "127.0.0.1:0", "--grpc", "")
	end()
	var last map[string]any
	for line := range strings.Lines(out.String()) {
		last = nil
		if err := json.Unmarshal([]byte(line), &last); err != nil || last["msg"] == nil {
			t.Errorf("%q is no record: %v", line, err)
		}
	}
	if last["msg"] != "shutting down" || last["timeout_seconds"] != 15.0 {
		t.Errorf("the last record is %v", last)
	}
}

// servedInJSON serves with its log in JSON, until end is called.
func servedInJSON(t *testing.T, args ...string) (out *output, end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out = &output{}
	e := env{stdin: strings.NewReader(""), stdout: out, stderr: out, environ: []string{"PLINTH_CACHE_DIR=" + sharedCache(t)}}
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, append([]string{"serve", "--log", "json"}, args...), e) }()
	end = func() {
		t.Helper()
		cancel()
		if code := <-ended; code != exitDone {
			t.Errorf("exit code %d: %s", code, out)
		}
	}
	for deadline := time.Now().Add(time.Minute); !strings.Contains(out.String(), `"msg":"ready"`); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			end()
			t.Fatalf("it is not ready: %s", out)
		}
	}
	return out, end
}

// What ends serve before it is ready is a record, too, on one line.
func TestFatalErrorsAsJSON(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	two := filepath.Join(t.TempDir(), "plinth.yaml")
	if err := os.WriteFile(two, []byte("stores: { a: { backend: { plugin: x } }, b: { backend: { plugin: y } } }"), 0o600); err != nil {
		t.Fatal(err)
	}
	inUse := []string{"--http", taken.Addr().String(), "--grpc", ""}
	if testing.Short() { // compiling takes minutes under the race detector
		inUse = append(inUse, "--set", "plugins.memory.isolation=none")
	}
	// There is no place for compiled plugins, which is a record of its own.
	t.Setenv("XDG_CACHE_HOME", "/dev/null/nowhere")
	t.Setenv("HOME", "/dev/null/nowhere")
	t.Setenv("PLINTH_LOG", "json")
	for _, c := range []struct {
		args []string
		want string
		code int
	}{
		{inUse, "address already in use", exitFailed},
		{[]string{"--config", "/none/plinth.yaml"}, "/none/plinth.yaml: no such file", exitFailed},
		{[]string{"--config", two}, "errors in the configuration", exitFailed},
		{[]string{"--log-level", "loud"}, "--log-level is", exitUsage},
	} {
		code, _, errs := plinthCommand(append([]string{"serve"}, c.args...)...)
		var last map[string]any
		for line := range strings.Lines(errs) {
			last = nil
			if err := json.Unmarshal([]byte(line), &last); err != nil {
				t.Errorf("%s: %q is no record: %v", c.args, line, err)
			}
		}
		if text, _ := last["error"].(string); code != c.code || last["level"] != "ERROR" || last["msg"] != "serve failed" || !strings.Contains(text, c.want) {
			t.Errorf("%s: %d, %s", c.args, code, errs)
		}
	}
}

// What check warns of in a store is in the log of serve, once, also after a reload.
func TestWarningsAtStart(t *testing.T) {
	dir := t.TempDir()
	socket, file := filepath.Join(dir, "s"), filepath.Join(dir, "plinth.yaml")
	_, end := servedInJSON(t, "--http", "", "--grpc", "unix:"+socket)
	defer end()
	config := `plugins: { other: { remote: "unix:` + socket + `" } }
stores:
  a: { backend: { plugin: other, config: { store: default } }, pipeline: [cache: { ttl: 7s, staleness: 0s }] }
`
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	admin := "unix:" + filepath.Join(dir, "h")
	out, endToo := servedInJSON(t, "--config", file, "--http", admin, "--grpc", "")
	defer endToo()
	const warning = `"store":"a","warning":"cache: others may write to this backend: writes of others to the backend are seen after 7s at the latest"`
	if n := strings.Count(out.String(), warning); n != 1 {
		t.Errorf("the warning is logged %d times at start: %s", n, out)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(config, "pipeline: [", "pipeline: [instrument, ", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := plinthCommand("reload", "--addr", admin); code != exitDone {
		t.Fatalf("reload: %s", errs)
	}
	if n := strings.Count(out.String(), warning); n != 1 {
		t.Errorf("the warning is logged %d times after a reload: %s", n, out)
	}
}
