package carrier

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A folder that cannot be claimed is an error that says which folder to create.
func TestFoldersThatAreMissing(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ dir, store, want string }{
		{filepath.Join(dir, "data", "log"), "s", "grants.dir: the folder " + filepath.Join(dir, "data", "log") + " does not exist: create it"},
		{file, "s", "grants.dir: the folder of the store: mkdir"},
	} {
		f, err := Claim(t.Context(), c.dir, c.store, slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.dir, err, c.want)
		}
		if err == nil {
			f.Release()
		}
	}
}
