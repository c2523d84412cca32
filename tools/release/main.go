// Command release makes a release: it cuts CHANGELOG.md, and builds the program for each
// platform, byte for byte the same wherever it is built from the same source.
//
//	go run ./tools/release -cut v0.2.0       names what is unreleased in CHANGELOG.md; then commit and tag
//	go run ./tools/release -version v0.2.0   builds archives and SHA256SUMS into dist/
//	go run ./tools/release -version v0.2.0 -program ./plinth    builds the program alone, for this platform or GOOS and GOARCH
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// platforms lists what a release is built for, as GOOS/GOARCH.
var platforms = []string{"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64"}

// version is the form of a version.
var version = regexp.MustCompile(`^v(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?$`)

func main() {
	var (
		cut     = flag.String("cut", "", "version that what is unreleased in CHANGELOG.md becomes")
		of      = flag.String("version", "", "version to build, such as v0.2.0")
		out     = flag.String("out", "dist", "folder for archives")
		program = flag.String("program", "", "file to build the program alone into, without an archive")
	)
	flag.Parse()
	if err := run(*cut, *of, *out, *program); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(cut, of, out, program string) error {
	switch {
	case (cut == "") == (of == ""):
		return errors.New("set -cut or -version")
	case !version.MatchString(cut + of):
		return fmt.Errorf("%q is not a version such as v0.2.0 or v0.2.0-rc.1", cut+of)
	case cut != "":
		return cutFile("CHANGELOG.md", cut, time.Now())
	case program != "":
		return build(".", source{of, os.Getenv("PLINTH_REVISION")}, platform(), program)
	}
	changelog, err := os.ReadFile("CHANGELOG.md")
	if err != nil {
		return err
	}
	news, err := notes(changelog, of)
	if err != nil {
		return err
	}
	s, at, err := committed(of)
	if err != nil {
		return err
	}
	if err := all(".", s, at, out); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, "NOTES.md"), news, 0o644)
}

// platform returns what is built for where nothing else is said.
func platform() string {
	goos, arch := runtime.GOOS, runtime.GOARCH
	if v := os.Getenv("GOOS"); v != "" {
		goos = v
	}
	if v := os.Getenv("GOARCH"); v != "" {
		arch = v
	}
	return goos + "/" + arch
}

// committed returns the source of a release, which is that of a commit and nothing else, and the
// time of that commit.
func committed(of string) (source, time.Time, error) {
	changed, err := git("status", "--porcelain")
	if err != nil {
		return source{}, time.Time{}, err
	}
	if changed != "" {
		return source{}, time.Time{}, fmt.Errorf("there are changes that are not committed:\n%s", changed)
	}
	revision, err := git("rev-parse", "HEAD")
	if err != nil {
		return source{}, time.Time{}, err
	}
	seconds, err := git("log", "-1", "--format=%ct")
	if err != nil {
		return source{}, time.Time{}, err
	}
	n, err := strconv.ParseInt(seconds, 10, 64)
	return source{of, revision}, time.Unix(n, 0).UTC(), err
}

func git(args ...string) (string, error) {
	out, err := exec.Command("git", args...).Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w", args[0], err)
	}
	return strings.TrimSpace(string(out)), nil
}

// all builds everything into a folder that is new.
func all(root string, s source, at time.Time, out string) error {
	if err := os.Mkdir(out, 0o755); err != nil {
		return fmt.Errorf("the folder of a release must be new: %w", err)
	}
	var archives []string
	for _, p := range platforms {
		name := "plinth-" + s.version + "-" + strings.ReplaceAll(p, "/", "-")
		program := filepath.Join(out, name)
		fmt.Println("building", name)
		if err := build(root, s, p, program); err != nil {
			return err
		}
		if err := pack(root, program+".tar.gz", name, program, at); err != nil {
			return err
		}
		if err := os.Remove(program); err != nil {
			return err
		}
		archives = append(archives, name+".tar.gz")
	}
	return sums(out, archives)
}
