//go:build unix

package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The session in the README runs as it stands there, but on a port that is free. A line
// that begins with "# " and a brace, a quote or a small letter is in the output.
func TestReadme(t *testing.T) {
	for _, program := range []string{"bash", "curl", "sed"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("the README's lines need %s: %v", program, err)
		}
	}
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, script, ok := strings.Cut(string(page), "```sh\ngo build -o authz ./examples/authz\n")
	script, _, ended := strings.Cut(script, "```")
	if !ok || !ended {
		t.Fatal("the README has no such lines")
	}
	dir := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", filepath.Join(dir, "authz"), ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().String()
	l.Close()
	var expected []string
	for line := range strings.Lines(script) {
		if text, ok := strings.CutPrefix(line, "# "); ok && strings.ContainsAny(text[:1], `{"abcdefghijklmnopqrstuvwxyz`) {
			expected = append(expected, strings.TrimSpace(text))
		}
	}
	script = strings.ReplaceAll(script, "./authz serve", "./authz serve -listen "+at)
	script = strings.ReplaceAll(script, "127.0.0.1:7430", at)
	cmd := exec.CommandContext(t.Context(), "bash", "-eu", "-c", "trap 'kill $(jobs -p); wait' EXIT\n"+script)
	cmd.Dir, cmd.WaitDelay = dir, 10*time.Second
	out, err := cmd.CombinedOutput()
	rest := string(out)
	for _, want := range expected {
		_, after, found := strings.Cut(rest, want)
		if !found {
			err = fmt.Errorf("%q is not in the output, or not in its place: %w", want, err)
			break
		}
		rest = after
	}
	if err != nil || len(expected) < 8 {
		t.Errorf("%v, with %d outputs\n%s", err, len(expected), out)
	}
}
