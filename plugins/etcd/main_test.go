//go:build unix

package etcd

import (
	"flag"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/plinthkv/plinth/internal/etcdtest"
)

// TestMain is the plugin if its environment says so.
func TestMain(m *testing.M) {
	servePlugin()
	flag.Parse()
	_ = flag.Set("test.parallel", "5") // tests wait for servers most of the time
	os.Exit(m.Run())
}

const runsAlone = "PLINTH_TEST_ALONE"

// alone runs a test in a process of its own, in parallel to the others, and reports whether
// this is that process: the kit counts the goroutines of its process, and measures its
// memory.
func alone(t *testing.T) bool {
	t.Helper()
	if os.Getenv(runsAlone) == t.Name() {
		return true
	}
	t.Parallel()
	run := "^" + t.Name() + "$"
	if _, part, ok := strings.Cut(flag.Lookup("test.run").Value.String(), "/"); ok {
		run += "/" + part
	}
	args := []string{"-test.run", run, "-test.v"}
	if testing.Short() {
		args = append(args, "-test.short")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), runsAlone+"="+t.Name())
	cmd.SysProcAttr = etcdtest.Dies()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, failures(string(out)))
	} else {
		t.Logf("%d checks passed", strings.Count(string(out), "        --- PASS: "))
	}
	return false
}

// failures returns the lines of an output that do not report a success.
func failures(out string) string {
	var b strings.Builder
	for line := range strings.Lines(out) {
		if text := strings.TrimSpace(line); !strings.HasPrefix(text, "=== ") && !strings.HasPrefix(text, "--- PASS") && !strings.HasPrefix(text, "--- SKIP") {
			b.WriteString(line)
		}
	}
	return b.String()
}
