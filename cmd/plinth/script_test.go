package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/internal/carrier/wasmhost"
)

// asProgram has the test program be plinth.
const asProgram = "PLINTH_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Unsetenv(asProgram)
		main()
	}
	if filepath.Base(os.Args[0]) != "plinth" { // not as a script's command, which has its own
		os.Setenv(contextFileVariable, "/nonexistent/contexts.yaml") // not the file of the user who runs the tests
	}
	plinth.RunWorker(backends()...) // tests that run the program within theirs have it start this one
	testscript.Main(m, map[string]func(){"plinth": main})
}

// The scripts run the program as a person does. In addition to testscript's commands:
//
//	serve [arg…]        starts "plinth serve" on free ports; data commands find it
//	halt                ends it as SIGTERM does, and waits
//	exits N cmd arg…    runs a command that must end with the exit code N
func TestScripts(t *testing.T) { runScripts(t, false) }

// Data commands do the same over gRPC.
func TestScriptsOverGRPC(t *testing.T) {
	runScripts(t, true, "testdata/script/data.txtar", "testdata/script/import.txtar", "testdata/script/empty.txtar",
		"testdata/script/backup.txtar", "testdata/script/copy.txtar", "testdata/script/interrupt.txtar", "testdata/script/watch.txtar")
}

// runScripts runs all scripts, or those given, with data commands over HTTP or gRPC.
func runScripts(t *testing.T, overGRPC bool, files ...string) {
	cache, dir := sharedCache(t), "testdata/script"
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) > 0 {
		dir = ""
	}
	testscript.Run(t, testscript.Params{
		Dir: dir, Files: files,
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "grpc":
				return overGRPC, nil
			case "race":
				return underRace, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Setup: func(e *testscript.Env) error {
			e.Values["grpc"] = overGRPC
			e.Setenv("PLINTH_CACHE_DIR", cache)
			e.Setenv("ROOT", root)
			e.Setenv("GORACE", "atexit_sleep_ms=0") // each command would wait a second at its end
			// For scripts that build plugins.
			for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPROXY", "GOSUMDB", "GONOSUMDB"} {
				out, err := exec.Command("go", "env", name).Output()
				if err != nil {
					return err
				}
				e.Setenv(name, strings.TrimSpace(string(out)))
			}
			e.Values["servers"] = &servers{}
			e.Defer(func() { e.Values["servers"].(*servers).stop() })
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"serve": serveCommand, "halt": haltCommand, "exits": exitsCommand},
	})
}

// sharedCache keeps the compiled module from run to run: compiling takes seconds.
func sharedCache(t *testing.T) string {
	dir, err := os.UserCacheDir()
	if dir = filepath.Join(dir, "plinth-test", "compiled"); err != nil || wasmhost.CheckCacheDir(dir) != nil {
		return t.TempDir()
	}
	return dir
}

// servers are what a script has started.
type servers struct{ running []*running }

type running struct {
	end  context.CancelFunc
	code chan int
	out  *output
}

func (s *servers) stop() (code int) {
	for _, r := range s.running {
		r.end()
		code = max(code, <-r.code)
	}
	s.running = nil
	return code
}

func serveCommand(ts *testscript.TestScript, neg bool, args []string) {
	ctx, end := context.WithCancel(context.Background())
	r := &running{end: end, code: make(chan int, 1), out: &output{}}
	e := env{stdin: strings.NewReader(""), stdout: r.out, stderr: r.out,
		environ: []string{"PLINTH_CACHE_DIR=" + ts.Getenv("PLINTH_CACHE_DIR")}}
	args = append([]string{"serve"}, args...)
	for i, arg := range args { // the script's folder is not this process's
		if path, ok := strings.CutPrefix(arg, "unix:"); ok {
			args[i] = "unix:" + ts.MkAbs(path)
		}
		if i > 0 && args[i-1] == "--config" {
			args[i] = ts.MkAbs(arg)
		}
	}
	if !strings.Contains(strings.Join(args, " "), "--http") {
		args = append(args, "--http", "127.0.0.1:0")
	}
	if !strings.Contains(strings.Join(args, " "), "--grpc") {
		args = append(args, "--grpc", "127.0.0.1:0")
	}
	go func() { r.code <- run(ctx, args, e) }()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if _, rest, ok := strings.Cut(r.out.String(), "plinth: ready on "); ok && strings.Contains(rest, ",") {
			addresses, _, _ := strings.Cut(rest, ",")
			address, rpc, _ := strings.Cut(addresses, " and ")
			ts.Setenv("PLINTH_ADDR", address)
			ts.Setenv("GRPC_ADDR", rpc)
			ts.Setenv("HTTP_HOST", strings.TrimPrefix(address, "http://"))
			if ts.Value("grpc").(bool) {
				ts.Setenv("PLINTH_ADDR", rpc)
			}
			all := ts.Value("servers").(*servers)
			all.running = append(all.running, r)
			if neg {
				ts.Fatalf("it serves")
			}
			return
		}
		select {
		case code := <-r.code:
			end()
			if !neg {
				ts.Fatalf("serve ended with %d: %s", code, r.out)
			}
			ts.Check(os.WriteFile(ts.MkAbs("serve.out"), []byte(r.out.String()), 0o644))
			return
		default:
		}
		if time.Now().After(deadline) {
			ts.Fatalf("not ready within a minute: %s", r.out)
		}
	}
}

func haltCommand(ts *testscript.TestScript, neg bool, _ []string) {
	if code := ts.Value("servers").(*servers).stop(); (code != 0) != neg {
		ts.Fatalf("serve ended with %d", code)
	}
}

func exitsCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits N cmd arg…")
	}
	err := ts.Exec("sh", append([]string{"-c", `want=$1; shift; "$@"; got=$?; test $got = $want || { echo "exit code $got, want $want" >&2; exit 99; }`, "exits"}, args...)...)
	ts.Check(err)
}

// output gathers what a server says.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

var _ io.Writer = (*output)(nil)
