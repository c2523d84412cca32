package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/plinthkv/plinth/internal/etcdtest"
)

// many are lines as import reads them.
func many(t *testing.T, n int) (file string) {
	t.Helper()
	var lines bytes.Buffer
	for i := range n {
		fmt.Fprintf(&lines, "{\"key\":\"k%06d\",\"value\":\"%0100d\"}\n", i, i)
	}
	file = filepath.Join(t.TempDir(), "lines.jsonl")
	if err := os.WriteFile(file, lines.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// begun starts the program as a process of its own.
func begun(t *testing.T, args ...string) (p *exec.Cmd, errs *output) {
	t.Helper()
	errs = &output{}
	p = exec.Command(os.Args[0])
	p.Args = append([]string{"plinth"}, args...)
	p.Env = append(os.Environ(), "PLINTH_CACHE_DIR="+sharedCache(t), "GORACE=atexit_sleep_ms=0", asProgram+"=1")
	p.Stdout, p.Stderr = errs, errs
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Process.Kill() })
	return p, errs
}

// until waits for something that happens in another process.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !is(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("within 30 s there was not: %s", what)
		}
	}
}

func contains(file, text string) bool {
	raw, _ := os.ReadFile(file)
	return bytes.Contains(raw, []byte(text))
}

const slowScans = `
allow_faults: true
plugins: { memory: { isolation: none } }
stores:
  default: { backend: { plugin: memory } }
  same: { backend: { plugin: memory } }
  restored: { backend: { plugin: memory } }
  scans: { backend: { store: default }, pipeline: [faults: { rules: [{ calls: [scan], rate: 1, delay: 300ms }] }] }
`

// A backup that is killed at any moment, or ended by a signal, is continued by later runs, while
// others write. The file is that of the state that the first run began with.
func TestBackupKilledAndResumed(t *testing.T) {
	web, rpc := serveHere(t, slowScans)
	file := many(t, 20_000)
	done(t, "import", "--addr", web, "--store", "default", file)
	done(t, "import", "--addr", web, "--store", "same", file)
	addresses := []string{web, rpc}
	if testing.Short() {
		addresses = addresses[rand.N(2):][:1]
	}
	for _, address := range addresses {
		name := filepath.Join(t.TempDir(), "shop.backup")
		if err := os.WriteFile(name, []byte("the one before"), 0o600); err != nil {
			t.Fatal(err)
		}
		done(t, "import", "--addr", web, "--store", "default", file)
		for round, lives := range []time.Duration{0, 1200, 400, 1700, 5, 1500, 30} { // ms; marks are made each second
			p, errs := begun(t, "backup", "--addr", address, "--resume", "scans", name)
			if round == 0 {
				until(t, "a partial file", func() bool { return contains(name+".resume", "at_version") })
			}
			time.Sleep(lives * time.Millisecond)
			end := syscall.SIGKILL
			if round == 3 {
				end = syscall.SIGTERM
			}
			if err := p.Process.Signal(end); err != nil {
				t.Fatalf("%v: %s", err, errs)
			}
			code := ends(t, p)
			if round != 3 && code != -1 {
				t.Fatalf("round %d: it had ended: %d %s", round, code, errs)
			}
			if round == 3 && (code != exitFailed || !strings.Contains(errs.String(), "interrupted; ") ||
				!strings.Contains(errs.String(), "items are in "+name+".part: run the same command with --resume to continue")) {
				t.Errorf("%d %s", code, errs)
			}
			if !contains(name, "the one before") {
				t.Fatal("the file is replaced by a part")
			}
			done(t, "set", "--addr", web, fmt.Sprintf("k%06d-new", 3000*round), "later")
			done(t, "delete", "--addr", web, fmt.Sprintf("k%06d", 19_000+round))
		}
		if contains(name+".resume", `"items":0,`) {
			t.Error("nothing was written when it was killed: the test says nothing")
		}
		if out, errs, code := program(t, "backup", "--addr", address, "--resume", "scans", name); code != exitDone || strings.Contains(errs, "backed up 20000 items") {
			t.Fatalf("%d %s%s", code, out, errs)
		}
		done(t, "clear", "--addr", web, "--store", "restored", "--all")
		done(t, "restore", "--addr", web, "restored", name)
		done(t, "copy", "--from", web+"/same", "--to", web+"/restored", "--verify-only")
		if left, _ := os.ReadDir(filepath.Dir(name)); len(left) != 1 {
			for _, f := range left {
				if !strings.HasPrefix(f.Name(), ".shop.backup.resume.") { // a kill in the middle of a rename
					t.Errorf("%s is left", f.Name())
				}
			}
		}
		// Once it is complete, the same command makes another.
		done(t, "backup", "--addr", address, "--resume", "default", name)
		done(t, "clear", "--addr", web, "--store", "default", "--all")
	}
}

// A server that is gone for good leaves a partial file. Where the state outlives the server, the
// backup goes on in it.
func TestBackupResumedAtAnotherServer(t *testing.T) {
	dir, to := t.TempDir(), t.TempDir()
	member, err := etcdtest.Start(filepath.Join(dir, "etcd"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(member.Stop)
	config := filepath.Join(dir, "plinth.yaml")
	if err := os.WriteFile(config, fmt.Appendf(nil, `
allow_faults: true
plugins: { pebble: { grants: { dir: %s } } }
stores:
  etcd: { backend: { plugin: etcd, config: { endpoints: [%q], prefix: shop/ } } }
  disk: { backend: { plugin: pebble } }
  restored: { backend: { plugin: memory } }
  etcd-slow: { backend: { store: etcd }, pipeline: [faults: { rules: [{ calls: [scan], rate: 1, delay: 300ms }] }] }
  disk-slow: { backend: { store: disk }, pipeline: [faults: { rules: [{ calls: [scan], rate: 1, delay: 300ms }] }] }
`, dir, member.Endpoint), 0o600); err != nil {
		t.Fatal(err)
	}
	lines := many(t, 8000)
	serve, _, web := startServe(t, "--config", config)
	for _, store := range []string{"etcd", "disk"} {
		done(t, "import", "--addr", web, "--store", store, lines)
	}
	stopped := map[string]*exec.Cmd{}
	said := map[string]*output{}
	for _, store := range []string{"etcd", "disk"} {
		name := filepath.Join(to, store)
		stopped[store], said[store] = begun(t, "backup", "--addr", web, store+"-slow", name)
	}
	for _, store := range []string{"etcd", "disk"} {
		until(t, "a mark of "+store, func() bool {
			if text := said[store].String(); text != "" {
				t.Fatal(text)
			}
			return contains(filepath.Join(to, store+".resume"), `"items":`) && !contains(filepath.Join(to, store+".resume"), `"items":0,`)
		})
	}
	if err := serve.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	ends(t, serve)
	for store, p := range stopped {
		if code := ends(t, p); code != exitFailed || !strings.Contains(said[store].String(), store+".part: run the same command with --resume to continue") {
			t.Errorf("%s: %d %s", store, code, said[store])
		}
	}
	serve, _, _ = startServe(t, "--config", config, "--http", strings.TrimPrefix(web, "http://"))
	done(t, "set", "--addr", web, "--store", "etcd", "k000000", "later")
	done(t, "set", "--addr", web, "--store", "etcd", "k007999", "later")
	_, errs, code := program(t, "backup", "--addr", web, "--resume", "etcd-slow", filepath.Join(to, "etcd"))
	if code != exitDone || strings.Contains(errs, "backed up 8000 items") {
		t.Fatalf("%d %s", code, errs)
	}
	done(t, "restore", "--addr", web, "restored", filepath.Join(to, "etcd"))
	if got, _ := os.ReadFile(lines); done(t, "export", "--addr", web, "--store", "restored", "-") != string(got) {
		t.Error("it is not the state that the backup began with")
	}

	// A state that the store does not have any more: nothing is lost, and it says what to do.
	part, state := filepath.Join(to, "disk.part"), filepath.Join(to, "disk.resume")
	before, _ := os.ReadFile(part)
	for range 2 {
		_, errs, code = program(t, "backup", "--addr", web, "--resume", "disk-slow", filepath.Join(to, "disk"))
		if code != exitConflict || !strings.Contains(errs, "the store no longer keeps the state of version ") || !strings.Contains(errs, part+": start again without --resume") {
			t.Errorf("%d %s", code, errs)
		}
		if now, _ := os.ReadFile(part); !bytes.HasPrefix(before, now) || len(now) == 0 || !contains(state, "at_version") {
			t.Errorf("%d bytes of %d are there", len(now), len(before))
		}
	}
	done(t, "backup", "--addr", web, "disk-slow", filepath.Join(to, "disk"))
	done(t, "restore", "--addr", web, "restored", "--over", filepath.Join(to, "disk"))
	if err := serve.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ends(t, serve)
}

// A partial file that cannot be continued is refused by its name, and neither it nor the file is
// changed. Without --resume the backup starts again.
func TestWrongPartialBackups(t *testing.T) {
	web, _ := serveHere(t, slowScans)
	done(t, "import", "--addr", web, "--store", "default", many(t, 20_000)) // it is marked after a second, and takes six
	dir := t.TempDir()
	name := filepath.Join(dir, "shop.backup")
	p, _ := begun(t, "backup", "--addr", web, "scans", name)
	until(t, "a partial file with items", func() bool { return contains(name+".resume", `"after":"`) })
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := ends(t, p); code != exitFailed {
		t.Fatal(code)
	}
	state, part := name+".resume", name+".part"
	wholeState, _ := os.ReadFile(state)
	wholePart, _ := os.ReadFile(part)
	if len(wholePart) < 1000 || !bytes.Contains(wholeState, []byte(`"after":"`)) {
		t.Fatalf("%d bytes were written: the test says nothing. %s", len(wholePart), wholeState)
	}
	changed := func(b []byte, at int) []byte {
		b = bytes.Clone(b)
		b[at] ^= 0x01
		return b
	}
	type wrong struct {
		store, file, says string
		content           []byte // nil: there is none
	}
	cases := map[string]wrong{
		"another store":             {"default", state, "belongs to another job: backup from " + web + "/scans to shop.backup", wholeState},
		"no state":                  {"scans", state, "no such file", nil},
		"an empty state":            {"scans", state, "is empty", []byte{}},
		"a state that is cut":       {"scans", state, "is not a resume file", wholeState[:len(wholeState)/2]},
		"a state and more":          {"scans", state, "is not a resume file", append(bytes.Clone(wholeState), '0')},
		"a state of a newer format": {"scans", state, "has format 9", bytes.Replace(wholeState, []byte(`"plinth_resume":2`), []byte(`"plinth_resume":9`), 1)},
		"a state of a copy":         {"scans", state, "is not a resume file", []byte(`{"plinth_resume":1,"command":"copy","from":"x/a","to":"y/b","after":"a2V5","items":1}`)},
		"an empty part":             {"scans", part, "the file is empty", []byte{}},
		"a part that is cut":        {"scans", part, "the file is cut", wholePart[:len(wholePart)-1]},
		"a header alone":            {"scans", part, "the file is cut", wholePart[:64]},
		"a part with another byte":  {"scans", part, "the file is damaged", changed(wholePart, len(wholePart)-1)},
		"another at the beginning":  {"scans", part, "the file is damaged", changed(wholePart, 64)},
	}
	each := 7 // of the bytes
	if testing.Short() {
		each = 29
	}
	for i := range wholeState {
		if i%each == 0 || i > len(wholeState)-each {
			cases[fmt.Sprintf("byte %d of the state", i)] = wrong{"scans", state, "", changed(wholeState, i)}
		}
	}
	for what, c := range cases {
		for file, content := range map[string][]byte{state: wholeState, part: wholePart} {
			if file == c.file {
				content = c.content
			}
			os.Remove(file)
			if content == nil {
				continue
			}
			if err := os.WriteFile(file, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, errs, code := program(t, "backup", "--addr", web, "--resume", c.store, name)
		if code != exitFailed || !strings.Contains(errs, c.file) || !strings.Contains(errs, c.says) || !strings.Contains(errs, "start again without --resume") {
			t.Errorf("%s: %d %s", what, code, errs)
		}
		if now, _ := os.ReadFile(c.file); !bytes.Equal(now, c.content) {
			t.Errorf("%s: it was changed", what)
		}
		if _, err := os.Stat(name); err == nil {
			t.Fatalf("%s: there is a file", what)
		}
	}
	done(t, "backup", "--addr", web, "default", name) // of whatever is there
	done(t, "restore", "--addr", web, "restored", name)
	done(t, "copy", "--from", web+"/default", "--to", web+"/restored", "--verify-only")
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("%v is left", left)
	}
}
