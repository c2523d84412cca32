package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/plinthkv/plinth/config"
)

// inMemory is the backend of the built-in configuration, as it is written there.
const inMemory = `      plugin: memory
      config:
        max_bytes: 256MiB        # keys, values and overhead; beyond it: no space
    require: [atomic, ttl]       # refuse to start on a backend without these
`

// onDisk replaces it if there is a folder.
const onDisk = `      plugin: pebble
    require: [atomic, ttl, durable] # refuse to start on a backend without these
`

// onData returns the built-in configuration with its store in a folder.
func onData(dir string) ([]byte, error) {
	built := config.Default()
	if !bytes.Contains(built, []byte(inMemory)) {
		return nil, fmt.Errorf("--data: the built-in configuration has no backend that can use a folder")
	}
	before, after, _ := bytes.Cut(built, []byte("stores:\n"))
	plugins := fmt.Sprintf("plugins:\n  pebble:                      # a durable store on this machine\n    grants: { dir: %s }   # each store has a folder of its own in it\n\nstores:\n", strings.ReplaceAll(strconv.Quote(dir), "$", "$$")) // which begins a reference
	return slices.Concat(before, []byte(plugins), bytes.Replace(after, []byte(inMemory), []byte(onDisk), 1)), nil
}

// folder makes a folder for data, if there is none.
func folder(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if !utf8.ValidString(dir) {
		return "", usagef("--data: the path %q is not UTF-8", dir)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("--data: %w", err)
	}
	return dir, nil
}
