package host_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/plugins/memory/module"
)

var update = flag.Bool("update", false, "write what the tests see into their golden files")

// TestErrorsOfPlugins holds the exact text of every error about a plugin: position, path, message.
// Each testdata/errors/NAME.yaml is wrong in many ways, and NAME.golden says what is
// reported; the environment stands in the file's first comments.
func TestErrorsOfPlugins(t *testing.T) {
	files, err := filepath.Glob("testdata/errors/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test data: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var environ []string
			for line := range strings.Lines(string(content)) {
				if env, ok := strings.CutPrefix(line, "# env: "); ok {
					environ = append(environ, strings.TrimSpace(env))
				}
			}
			_, err = plinth.Open(ctx, filepath.Base(file), plinth.WithContent(content), plinth.WithEnviron(environ),
				plinth.WithModule("memory", module.Wasm), plinth.WithWorker(self(t)), plinth.WithTrial(), quiet)
			if err == nil {
				t.Fatal("no error")
			}
			got := err.Error() + "\n"
			if strings.Contains(got, "hunter2") {
				t.Errorf("a secret is shown:\n%s", got)
			}
			golden := strings.TrimSuffix(file, ".yaml") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}
