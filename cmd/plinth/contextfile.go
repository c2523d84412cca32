package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/plinthkv/plinth/config"
)

// contextFileVariable names another file of contexts.
const contextFileVariable = "PLINTH_CONTEXT_FILE"

// contextFile holds the content of a file of contexts.
type contextFile struct {
	Contexts map[string]serverContext `yaml:"contexts"`

	path string
}

// serverContext is a server with its credentials. Paths start from the folder of the file.
type serverContext struct {
	Addr      string `yaml:"addr"`       // as --addr
	GRPC      string `yaml:"grpc"`       // for commands that require gRPC, if addr is over HTTP
	Store     string `yaml:"store"`      // as --store
	TokenFile string `yaml:"token_file"` // as --token-file
	CA        string `yaml:"ca"`         // as --ca
	Cert      string `yaml:"cert"`       // as --cert
	Key       string `yaml:"key"`        // as --key
}

// contextName matches names: shells complete them unquoted.
var contextName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// Validate checks the names.
func (f *contextFile) Validate() error {
	for _, name := range slices.Sorted(maps.Keys(f.Contexts)) {
		if !contextName.MatchString(name) {
			return &config.FieldError{Path: "contexts", Message: fmt.Sprintf("invalid name %.64q: a name has at most 64 letters, digits, '.', '_' and '-', and begins with a letter or digit", name)}
		}
	}
	return nil
}

// Validate checks what can be checked without the server.
func (c *serverContext) Validate() error {
	var errs []error
	if c.Addr == "" {
		errs = append(errs, &config.FieldError{Path: "addr", Message: "is missing: name the server, for example http://127.0.0.1:7421"})
	}
	if c.GRPC != "" && !overGRPCOnly(c.GRPC) {
		errs = append(errs, &config.FieldError{Path: "grpc", Message: "must be grpc://HOST:PORT, grpcs://HOST:PORT or grpc+unix:PATH"})
	}
	if (c.Cert == "") != (c.Key == "") {
		errs = append(errs, &config.FieldError{Path: "cert", Message: "must be set together with key"})
	}
	return errors.Join(errs...)
}

// overGRPCOnly reports whether an address is one of gRPC.
func overGRPCOnly(addr string) bool { return strings.HasPrefix(addr, "grpc") }

// contextPath returns the path of the file of contexts, or "" if there is no place for one.
func contextPath() string {
	if path := os.Getenv(contextFileVariable); path != "" {
		return path
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "plinth", "contexts.yaml")
}

// readContexts reads the file of contexts. A missing file has none.
func readContexts() (*contextFile, error) {
	f := &contextFile{path: contextPath()}
	info, err := os.Stat(f.path)
	switch {
	case f.path == "" || errors.Is(err, fs.ErrNotExist):
		return f, nil
	case err != nil:
		return nil, fmt.Errorf("contexts: %w", err)
	case writableByAll(info):
		return nil, fmt.Errorf("%s is writable by every user, who could redirect your tokens: run chmod go-w", f.path)
	}
	if err := config.DecodeFile(f.path, f); err != nil {
		var many config.Errors
		if errors.As(err, &many) && len(many) > 1 {
			err = fmt.Errorf("%d errors in the contexts:\n%w", len(many), err)
		}
		return nil, err
	}
	for name, c := range f.Contexts {
		for _, path := range []*string{&c.TokenFile, &c.CA, &c.Cert, &c.Key} {
			*path = f.resolve(*path)
		}
		f.Contexts[name] = c
	}
	return f, nil
}

// resolve returns a path of the file as a path from the working directory.
func (f *contextFile) resolve(path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, rest)
		}
	}
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(f.path), path)
}

// get returns a context by its name.
func (f *contextFile) get(name string) (serverContext, error) {
	c, ok := f.Contexts[name]
	if !ok {
		if len(f.Contexts) == 0 {
			return c, fmt.Errorf("unknown context %.64q: %s contains none", name, f.path)
		}
		return c, fmt.Errorf("unknown context %.64q%s", name, config.Hint(name, slices.Sorted(maps.Keys(f.Contexts))))
	}
	return c, c.private(name)
}

// private checks that the token can be read by its owner only.
func (c serverContext) private(name string) error {
	info, err := os.Stat(c.TokenFile)
	if c.TokenFile == "" || err != nil || runtime.GOOS == "windows" { // a missing file is reported when it is used
		return nil
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("context %s: %s has mode %#o: other users can read the token; run chmod 600", name, c.TokenFile, mode)
	}
	return nil
}

// writableByAll reports whether every user may write to a file.
func writableByAll(info fs.FileInfo) bool {
	return runtime.GOOS != "windows" && info.Mode().IsRegular() && info.Mode().Perm()&0o002 != 0
}

// currentPath returns the path of the file with the name of the context in use.
func (f *contextFile) currentPath() string {
	return strings.TrimSuffix(f.path, filepath.Ext(f.path)) + ".current"
}

// current returns the name of the context that "plinth context use" has selected, or "".
func (f *contextFile) current() (string, error) {
	if f.path == "" {
		return "", nil
	}
	raw, err := readFile(f.currentPath(), 1<<10)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("context in use: %w", err)
	}
	name := strings.TrimSpace(string(raw))
	if name != "" && !contextName.MatchString(name) {
		return "", fmt.Errorf("%s contains no name of a context: run plinth context use NAME", f.currentPath())
	}
	return name, nil
}

// use selects a context, or none if name is empty.
func (f *contextFile) use(name string) (err error) {
	path := f.currentPath()
	if name == "" {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	part, err := os.CreateTemp(filepath.Dir(path), ".context-*")
	if err != nil {
		return err
	}
	_, err = part.WriteString(name + "\n")
	if err = errors.Join(err, part.Close()); err == nil {
		err = os.Rename(part.Name(), path)
	}
	if err != nil {
		err = errors.Join(err, os.Remove(part.Name()))
	}
	return err
}
