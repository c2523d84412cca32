// Command postgres fetches a PostgreSQL for tests, on machines that have none, and prints the
// folder of its programs. What was fetched before is used again.
package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	embedded "github.com/fergusstrange/embedded-postgres"
)

func main() {
	dir, err := fetch()
	if err != nil {
		fmt.Fprintln(os.Stderr, "postgres:", err)
		os.Exit(1)
	}
	fmt.Println(dir)
}

// fetch returns the folder of the programs. The library starts a server too, which it cannot as
// root: what counts is that the programs are there afterwards.
func fetch() (string, error) {
	parent, err := parent()
	if err != nil {
		return "", err
	}
	kept := filepath.Join(parent, "postgres-"+string(version))
	if bin := filepath.Join(kept, "bin"); complete(bin) {
		return bin, nil
	}
	scratch, err := os.MkdirTemp(parent, "fetch-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(scratch)
	whole := filepath.Join(scratch, "postgres")
	if err := os.MkdirAll(whole, 0o755); err != nil { // the server may run as another user
		return "", err
	}
	server := embedded.NewDatabase(embedded.DefaultConfig().Version(version).Port(port).BinariesPath(whole).CachePath(filepath.Join(scratch, "cache")).
		RuntimePath(filepath.Join(scratch, "runtime")).Logger(io.Discard))
	started := server.Start()
	if started == nil {
		started = server.Stop()
	}
	if !complete(filepath.Join(whole, "bin")) {
		return "", fmt.Errorf("the programs are not there after fetching: %w", started)
	}
	if err := os.Rename(whole, kept); err != nil && !complete(filepath.Join(kept, "bin")) { // or another was faster
		return "", err
	}
	return filepath.Join(kept, "bin"), nil
}

// parent returns where what was fetched is kept: the user's folder for that. That of root is closed
// to whoever the server runs as then.
func parent() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil || os.Getuid() == 0 {
		dir = os.TempDir()
	}
	dir = filepath.Join(dir, fmt.Sprintf("plinth-test-%d", os.Getuid()))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	is, err := os.Lstat(dir)
	if err != nil {
		return "", err
	}
	if stat, ok := is.Sys().(*syscall.Stat_t); !is.IsDir() || !ok || int(stat.Uid) != os.Getuid() {
		return "", fmt.Errorf("%s is not a folder of this user's", dir)
	}
	return dir, nil
}

const (
	version = embedded.V17
	port    = 54_329
)

func complete(bin string) bool {
	for _, name := range []string{"initdb", "postgres"} {
		if _, err := os.Stat(filepath.Join(bin, name)); err != nil {
			return false
		}
	}
	return true
}
