package config

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what the tests see into their golden files")

// TestErrors holds the exact text of every error: position, path, message. Each
// testdata/errors/NAME.yaml is wrong in many ways, and NAME.golden says what is
// reported; environment and flags stand in the file's first comments.
func TestErrors(t *testing.T) {
	files, err := filepath.Glob("testdata/errors/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test data: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			o := optionsOf(t, file)
			_, err := Load(o)
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

// optionsOf reads environment and flags from a file's comments. Errors name the
// file by its base name only.
func optionsOf(t *testing.T, file string) Options {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{File: filepath.Base(file), Content: content, Flags: map[string]string{}}
	for line := range strings.Lines(string(content)) {
		line = strings.TrimSuffix(line, "\n")
		if env, ok := strings.CutPrefix(line, "# env: "); ok {
			o.Environ = append(o.Environ, env)
		}
		if f, ok := strings.CutPrefix(line, "# flag: "); ok {
			path, text, _ := strings.Cut(f, "=")
			o.Flags[path] = text
		}
	}
	return o
}
