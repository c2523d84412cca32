//go:build unix

package procs_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// What the system says of a file that it does not start is put into words that help.
func TestWhyItDoesNotStart(t *testing.T) {
	elf := make([]byte, 64)
	copy(elf, "\x7fELF\x02\x01\x01")
	binary.LittleEndian.PutUint16(elf[16:], 2)   // executable
	binary.LittleEndian.PutUint16(elf[18:], 243) // for RISC-V
	binary.LittleEndian.PutUint32(elf[20:], 1)
	binary.LittleEndian.PutUint16(elf[52:], 64)
	for name, c := range map[string]struct{ content, want string }{
		"interpreter": {"#!/no/such/python3 -u\n", "its interpreter, /no/such/python3, does not exist"},
		"CR LF":       {"#!/bin/sh\r\necho\r\n", "its first line ends in CR LF"},
		"module":      {"\x00asm\x01\x00\x00\x00", "it is a WebAssembly module: name it under wasm in place of process"},
		"Windows":     {"MZ\x90\x00 and so on", "it is an executable for Windows"},
		"macOS":       {"\xcf\xfa\xed\xfe and so on", "it is an executable for macOS"},
		"processor":   {string(elf), "it is an executable for riscv, and this machine is " + runtime.GOOS + "/" + runtime.GOARCH},
		"empty":       {"", "it is empty"},
		"text":        {"print('hello')\n", "it is neither an executable nor a script that begins with #!"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "plugin")
			if err := os.WriteFile(path, []byte(c.content), 0o700); err != nil {
				t.Fatal(err)
			}
			o := options(t, name)
			o.Name, o.Command, o.Env = "acme", []string{path}, nil
			_, err := newPlugin(t, o).Open(t.Context(), "", nil)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// A plugin without a certificate says what to do about it.
func TestPluginWithoutTLS(t *testing.T) {
	path := filepath.Join(t.TempDir(), "plugin")
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho '1|1|unix|/none|grpc'\nsleep 5\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	o := options(t, "without")
	o.Command, o.Plaintext = []string{path}, false
	if _, err := newPlugin(t, o).Open(t.Context(), "", nil); err == nil || !strings.Contains(err.Error(), "set process.tls to off") {
		t.Errorf("%v", err)
	}
}
