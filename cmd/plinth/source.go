package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/config"
	"github.com/plinthkv/plinth/internal/carrier/wasmhost"
)

// source is where a command's configuration comes from.
type source struct {
	Config string            `help:"Configuration file, or \"-\" for standard input. By default, the built-in configuration." type:"path" env:"PLINTH_CONFIG" short:"c"`
	Set    map[string]string `help:"Set one value of the configuration, such as server.http=127.0.0.1:8000; may be repeated." placeholder:"PATH=VALUE"`

	content []byte // instead of a file, or nil if there is none
}

// AfterApply reads a configuration that can be read only once.
func (s *source) AfterApply(e env) (err error) {
	s.Config, s.content, err = readOnce(s.Config, e.stdin)
	return err
}

// mostInput is the largest configuration that is read from a pipe, in bytes: one more than
// one may have.
const mostInput = 1<<20 + 1

// readOnce reads a configuration from standard input, which "-" names, or from a pipe. Of a
// file, content is nil.
func readOnce(path string, stdin io.Reader) (name string, content []byte, err error) {
	switch info, err := os.Stat(path); {
	case path == "-":
		path = "standard input"
	case err != nil || info.Mode()&os.ModeNamedPipe == 0:
		return path, nil, nil // it is read where its errors are reported
	default:
		f, err := os.Open(path)
		if err != nil {
			return path, nil, err
		}
		defer f.Close()
		stdin = f
	}
	content, err = io.ReadAll(io.LimitReader(stdin, mostInput))
	if content == nil {
		content = []byte{}
	}
	return path, content, err
}

func (s source) options(e env) []plinth.Option {
	opts := append(s.reading(e), plinth.WithCacheDir(cacheDir(e)))
	if self, err := os.Executable(); err == nil { // it is its own worker
		opts = append(opts, plinth.WithWorker(self))
	}
	return opts
}

// reading returns the options by which a configuration is read.
func (s source) reading(e env) []plinth.Option {
	opts := append(backends(), plinth.WithEnviron(e.environ), plinth.WithOverrides(s.Set))
	if s.content != nil {
		opts = append(opts, plinth.WithContent(s.content))
	}
	return opts
}

// load reads the configuration, and opens nothing.
func (s source) load(e env) (*config.Config, error) { return plinth.Load(s.Config, s.reading(e)...) }

// cacheDir returns where compiled plugins are kept: what PLINTH_CACHE_DIR says, else a
// folder in the user's cache directory; empty, with a word about it, where there
// can be none that is safe. A command says it once.
func cacheDir(e env) string {
	for _, v := range e.environ {
		if dir, ok := strings.CutPrefix(v, "PLINTH_CACHE_DIR="); ok {
			return dir
		}
	}
	dir, err := os.UserCacheDir()
	if err == nil {
		dir = filepath.Join(dir, "plinth", "wasm")
		err = wasmhost.CheckCacheDir(dir)
	}
	if err != nil {
		e.uncached.Do(func() {
			if e.log != nil {
				e.log.Warn("compiled plugins are not cached, so every start compiles them", "error", err)
				return
			}
			fmt.Fprintln(e.stderr, "plinth: compiled plugins are not cached, so every start compiles them:", err)
		})
		return ""
	}
	return dir
}

// listed puts a number before many errors.
func listed(err error) error {
	var many config.Errors
	if errors.As(err, &many) && len(many) > 1 {
		return fmt.Errorf("%d errors in the configuration:\n%w", len(many), err)
	}
	return err
}

// pipelineOf returns a store's way down, such as "instrument → cache → memory".
func pipelineOf(s *plinth.Store) string {
	return strings.Join(append(s.Stages(), s.Plugin()), " → ")
}
