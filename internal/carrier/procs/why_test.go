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
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	plain := filepath.Join(t.TempDir(), "python3")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ content, want string }{
		"a folder as interpreter":            {"#!" + filepath.Dir(plain) + "\n", "its interpreter, " + filepath.Dir(plain) + ", is a folder"},
		"interpreter that is not executable": {"#!" + plain + "\n", "its interpreter, " + plain + ", is not executable"},
		"env and CR LF":                      {"#!/usr/bin/env sh\r\necho\r\n", "its first line ends in CR LF"},
		"byte order mark":                    {"\ufeff#!/bin/sh\n", "a byte order mark precedes its #!"},
		"UTF-16":                             {"\xff\xfe#\x00!\x00/\x00", "it is a text in UTF-16"},
		"UTF-16 without a mark":              {"#\x00!\x00/\x00", "it is a text in UTF-16"},
		"cut":                                {string(program[:len(program)/2]), "the executable is cut: it has "},
		"exit 0":                             {"#!/bin/sh\n", "it ended: exit status 0"},
		"exit 3":                             {"#!/bin/sh\nexit 3\n", "it ended: exit status 3"},
		"interpreter":                        {"#!/no/such/python3 -u\n", "its interpreter, /no/such/python3, does not exist"},
		"CR LF":                              {"#!/bin/sh\r\necho\r\n", "its first line ends in CR LF"},
		"module":                             {"\x00asm\x01\x00\x00\x00", "it is a WebAssembly module: name it under wasm in place of process"},
		"Windows":                            {"MZ\x90\x00 and so on", "it is an executable for Windows"},
		"macOS":                              {"\xcf\xfa\xed\xfe and so on", "it is an executable for macOS"},
		"processor":                          {string(elf), "it is an executable for riscv, and this machine is " + runtime.GOOS + "/" + runtime.GOARCH},
		"empty":                              {"", "it is empty"},
		"text":                               {"print('hello')\n", "it is neither an executable nor a script that begins with #!"},
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
			for err != nil && strings.Contains(err.Error(), "text file busy") { // another test's child was forked while it was written
				_, err = newPlugin(t, o).Open(t.Context(), "", nil)
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// A plugin without a certificate says what to do about it, unless something else is wrong
// first.
func TestPluginWithoutTLS(t *testing.T) {
	for hello, want := range map[string]string{
		"1|1|unix|/none|grpc":      "set process.tls to off",
		"1|99|unix|/none|grpc":     "incompatible API version with plugin. Plugin version: 99",
		"2|1|unix|/none|grpc":      "incompatible core API version with plugin. Plugin version: 2",
		"1|1|tcp|127.0.0.1:1|grpc": `listens on "tcp", expected a unix socket`,
		"1|1|udp|127.0.0.1:1|grpc": `listens on "udp", expected a unix socket`,
	} {
		path := filepath.Join(t.TempDir(), "plugin")
		if err := os.WriteFile(path, []byte("#!/bin/sh\necho '"+hello+"'\nsleep 5\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		o := options(t, "without")
		o.Command, o.Plaintext = []string{path}, false
		if _, err := newPlugin(t, o).Open(t.Context(), "", nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", hello, err, want)
		}
	}
}
