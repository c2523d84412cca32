package module_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/plinthkv/plinth/plugins/memory/module"
)

// The committed module is what its source builds, to the byte.
func TestModuleHasNotDrifted(t *testing.T) {
	recorded, err := os.ReadFile("memory.go-version")
	if err != nil {
		t.Fatal(err)
	}
	if built := strings.TrimSpace(string(recorded)); built != runtime.Version() {
		t.Skipf("the module was built with %s and this is %s, whose compiler writes other bytes: make generate, with the former, compares", built, runtime.Version())
	}
	dir := t.TempDir()
	build := exec.Command(filepath.Join("..", "..", "..", "tools", "build-guests.sh"), dir)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the module: %v\n%s", err, out)
	}
	fresh, err := os.ReadFile(filepath.Join(dir, "memory.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(fresh, module.Wasm) {
		t.Fatalf("memory.wasm (%d bytes) is not what its source builds (%d bytes): run make generate and commit it", len(module.Wasm), len(fresh))
	}
}
