package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// source is what is built.
type source struct{ version, revision string }

// build builds the program. What it is made of is the source, the version and the toolchain
// that go.mod names alone: neither the machine, nor where on it the source is.
func build(root string, s source, platform, out string) error {
	toolchain, err := toolchainOf(filepath.Join(root, "go.mod"))
	if err != nil {
		return err
	}
	if out, err = filepath.Abs(out); err != nil {
		return err
	}
	goos, arch, _ := strings.Cut(platform, "/")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-mod=readonly",
		"-ldflags=-s -w -buildid= -X main.released="+s.version+" -X main.revision="+s.revision, "-o", out, "./cmd/plinth")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH="+arch, "CGO_ENABLED=0", "GOTOOLCHAIN="+toolchain,
		"GOFLAGS=", "GOWORK=off", "GOEXPERIMENT=", "GOAMD64=v1", "GOARM64=v8.0")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go build for %s: %w", platform, err)
	}
	return nil
}

// toolchainOf returns the toolchain that a go.mod names.
func toolchainOf(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "toolchain "); ok {
			return name, nil
		}
	}
	return "", errors.New(file + " names no toolchain")
}

// beside lists what an archive contains in addition to the program, from the root of the
// source.
var beside = []string{"LICENSE", "README.md", "CHANGELOG.md", "deploy/plinth.yaml", "deploy/systemd/plinth.service"}

// pack writes an archive of the program and the files that belong to it, with nothing of
// this machine in it.
func pack(root, archive, folder, program string, at time.Time) (err error) {
	f, err := os.Create(archive)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	z := gzip.NewWriter(f)
	w := tar.NewWriter(z)
	add := func(name, file string, mode int64) error {
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := w.WriteHeader(&tar.Header{Name: path.Join(folder, name), Mode: mode, Size: int64(len(content)), ModTime: at, Format: tar.FormatUSTAR}); err != nil {
			return err
		}
		_, err = w.Write(content)
		return err
	}
	if err := add("plinth", program, 0o755); err != nil {
		return err
	}
	for _, name := range beside {
		if err := add(path.Base(name), filepath.Join(root, name), 0o644); err != nil {
			return err
		}
	}
	return errors.Join(w.Close(), z.Close())
}

// sums writes SHA256SUMS, as sha256sum -c reads it.
func sums(folder string, names []string) error {
	var all bytes.Buffer
	for _, name := range names {
		f, err := os.Open(filepath.Join(folder, name))
		if err != nil {
			return err
		}
		h := sha256.New()
		_, err = io.Copy(h, f)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		fmt.Fprintf(&all, "%x  %s\n", h.Sum(nil), name)
	}
	return os.WriteFile(filepath.Join(folder, "SHA256SUMS"), all.Bytes(), 0o644)
}
