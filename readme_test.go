package plinth_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plinthkv/plinth"
)

// The first plugin of the README is built as it stands there, loaded and asked.
func TestFirstPluginOfTheReadme(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, source, ok := strings.Cut(string(readme), "```go\npackage main\n")
	if !ok {
		t.Fatal("the README has no plugin")
	}
	source, _, _ = strings.Cut("package main\n"+source, "```")
	dir := t.TempDir()
	file, module := filepath.Join(dir, "main.go"), filepath.Join(dir, "answer.wasm")
	if err := os.WriteFile(file, []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-trimpath", "-buildmode=c-shared", "-o", module, file)
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	ctx := context.Background()
	h, err := plinth.Open(ctx, filepath.Join(dir, "plinth.yaml"), plinth.WithCacheDir(compiled(t)), plinth.WithContent([]byte(`
plugins: { answer: { wasm: answer.wasm } }
stores: { default: { backend: { plugin: answer }, pipeline: [instrument, cache] } }`)))
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close(ctx)
	if got, err := storeOf(t, h, "default").Get(ctx, []byte("question")); err != nil || string(got) != "42" {
		t.Errorf("%q, %v", got, err)
	}
}
