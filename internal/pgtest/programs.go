package pgtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// programs returns the folder of PostgreSQL's programs: of the first postgres in PATH, or where
// Debian has them, or of one that is fetched.
func programs() (string, error) {
	if path, err := exec.LookPath("postgres"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil && complete(filepath.Dir(path)) {
			return filepath.Dir(path), nil
		}
	}
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // the pattern is valid
	slices.Sort(dirs)
	for _, dir := range slices.Backward(dirs) {
		if complete(dir) {
			return dir, nil
		}
	}
	return fetched()
}

// complete reports whether a folder has all programs.
func complete(dir string) bool {
	for _, name := range []string{"initdb", "postgres"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

// fetched returns the folder of a PostgreSQL that tools/postgres fetches, or has fetched before.
func fetched() (string, error) {
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/plinthkv/plinth").Output()
	if err != nil {
		return "", fmt.Errorf("there is no PostgreSQL in PATH, and the module's folder is not known: %w", err)
	}
	cmd := exec.Command("go", "run", ".")
	cmd.Dir = filepath.Join(strings.TrimSpace(string(root)), "tools", "postgres")
	cmd.Env = append(os.Environ(), "GOWORK=off")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("there is no PostgreSQL in PATH, and none can be fetched: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}
