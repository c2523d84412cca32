package main

import (
	"cmp"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"text/template"

	"github.com/plinthkv/plinth/config"
)

//go:embed newplugin/*.tmpl
var newPlugin embed.FS

type pluginNewCmd struct {
	Dir     string `arg:"" help:"Folder to create. Its name becomes the plugin's." type:"path"`
	Module  string `help:"Path of the Go module. By default, example.org/NAME."`
	Process bool   `help:"Scaffold an executable that runs as a separate process, instead of a WebAssembly module."`
	Source  string `help:"Folder of Plinth's source, for go.mod to use instead of a release." type:"existingdir"`
}

// Help returns the text that "plinth plugin new --help" adds.
func (*pluginNewCmd) Help() string {
	return `Writes a backend that keeps items in a map, its tests, and a configuration that serves it. The result
passes "plinth plugin test" unchanged; docs/writing-a-plugin.md describes the next steps.`
}

var pluginName = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,63}$`)

func (p *pluginNewCmd) Run(e env) error {
	name := filepath.Base(p.Dir)
	if !pluginName.MatchString(name) {
		return usagef("invalid plugin name %q: must be a lower-case letter, followed by letters, digits, _ and -", name)
	}
	if name == config.Memory || slices.Contains(builtinBackends(), name) {
		return usagef("invalid plugin name %q: a plugin of that name is built in", name)
	}
	required, source, err := requirement(version(), p.Source, builtFrom())
	if err != nil {
		return err
	}
	if have, err := os.ReadDir(p.Dir); err == nil && len(have) > 0 {
		return usagef("%s already exists and is not empty", p.Dir)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	fill := struct {
		Name, Module, Go, Version, Source string
		Process                           bool
		File                              string // what is built
	}{Name: name, Module: p.Module, Go: "1.26.0", Version: required, Source: source, Process: p.Process, File: name + ".wasm"}
	build := []string{"go mod tidy", "go test .", fmt.Sprintf("GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -o %s.wasm .", name)}
	if p.Process {
		fill.File = "./" + name
		build = []string{"go mod tidy", "go test .", "go build ."}
	}
	if fill.Module == "" {
		fill.Module = "example.org/" + name
	}
	if err := os.MkdirAll(p.Dir, 0o755); err != nil {
		return err
	}
	templates := template.Must(template.ParseFS(newPlugin, "newplugin/*.tmpl"))
	for _, t := range templates.Templates() {
		// Their names are the same whatever the plugin's is: kv_windows.go would be built on
		// Windows alone.
		if err := write(filepath.Join(p.Dir, strings.TrimSuffix(t.Name(), ".tmpl")), t, fill); err != nil {
			return err
		}
	}
	fmt.Fprintf(e.stdout, "created %s; continue with\n\n", name)
	for _, line := range append(append([]string{"cd " + p.Dir}, build...), "plinth plugin test "+fill.File) {
		fmt.Fprintf(e.stdout, "\t%s\n", line)
	}
	return nil
}

// requirement returns the version of Plinth that go.mod requires, and the folder of the source
// that replaces it, if any. A build that is no release requires a source: the folder that it
// was built from, unless one is named.
func requirement(version, named, built string) (required, source string, err error) {
	released := strings.HasPrefix(version, "v") && !strings.Contains(version, "+dirty")
	switch {
	case released:
		return version, named, nil
	case named == "" && built == "":
		return "", "", usagef("this plinth is no release, which go.mod could require: name the folder of its source with --source")
	}
	return "v0.0.0", cmp.Or(named, built), nil
}

func write(path string, t *template.Template, fill any) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return t.Execute(f, fill)
}

// builtFrom returns the source tree that this program was built from, or "" if it does not
// exist any more.
func builtFrom() string {
	_, file, _, ok := runtime.Caller(0)
	root := filepath.Dir(filepath.Dir(filepath.Dir(file)))
	if _, err := os.Stat(filepath.Join(root, "go.mod")); !ok || !filepath.IsAbs(file) || err != nil {
		return ""
	}
	return root
}
