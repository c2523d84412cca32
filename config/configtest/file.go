package configtest

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/plinthkv/plinth/config"
	"github.com/plinthkv/plinth/config/internal/strictyaml"
	"github.com/plinthkv/plinth/storage"
)

// File holds a file of tests.
type File struct {
	Config string `yaml:"config"` // the configuration, from the folder of the file
	Tests  []Test `yaml:"tests"`
}

// Test has the steps of a test of one store, which starts empty.
type Test struct {
	Name  string         `yaml:"name"`
	Store string         `yaml:"store"` // by default "default"
	At    string         `yaml:"at"`    // the time of the clock at the start, as RFC 3339; by default 2026-01-01T00:00:00Z
	Given []given        `yaml:"given"` // items of the backend, below the pipeline
	Steps []*config.Node `yaml:"steps"`

	start time.Time
}

// given describes an item that exists when a test begins.
type given struct {
	Key   string          `yaml:"key"`
	Value string          `yaml:"value"`
	TTL   config.Duration `yaml:"ttl"`
}

// step describes one thing that is done: exactly one of its first group.
type step struct {
	Get     *string          `yaml:"get"`     // a key
	Backend *string          `yaml:"backend"` // a key, read below the pipeline
	Put     *string          `yaml:"put"`     // a key, with value, ttl, if
	Delete  *string          `yaml:"delete"`  // a key, with if
	Touch   *string          `yaml:"touch"`   // a key, with ttl
	Scan    *string          `yaml:"scan"`    // a prefix, with limit, reverse
	Clear   *string          `yaml:"clear"`   // a prefix
	Apply   []write          `yaml:"apply"`   // several writes, all or none
	Advance *config.Duration `yaml:"advance"` // the clock
	Fault   *string          `yaml:"fault"`   // a code, or none; with calls, after, times, applied, delay

	Value   string          `yaml:"value"`
	TTL     config.Duration `yaml:"ttl"`
	If      condition       `yaml:"if"`
	Limit   int             `yaml:"limit"`
	Reverse bool            `yaml:"reverse"`
	Calls   []string        `yaml:"calls"`   // of the backend that the fault is about: get, get_many, scan, apply; all where it is not said
	After   int             `yaml:"after"`   // how many go well first
	Times   int             `yaml:"times"`   // how many fail; all that follow where it is not said
	Applied bool            `yaml:"applied"` // the write is done all the same
	Delay   config.Duration `yaml:"delay"`   // of real time

	Expect *config.Node `yaml:"expect"`
}

// write is one of several.
type write struct {
	Put    *string         `yaml:"put"`
	Delete *string         `yaml:"delete"`
	Value  string          `yaml:"value"`
	TTL    config.Duration `yaml:"ttl"`
	If     condition       `yaml:"if"`
}

// condition says what a key must hold for a write.
type condition struct {
	Absent  bool    `yaml:"absent"`
	Present bool    `yaml:"present"`
	Value   *string `yaml:"value"`
}

// expect says how a step must end. By default it must succeed.
type expect struct {
	Value     *string          `yaml:"value"`
	Absent    bool             `yaml:"absent"`
	Keys      *[]string        `yaml:"keys"`       // of a scan, in their order
	ExpiresIn *config.Duration `yaml:"expires_in"` // of an item that was read; 0s: never
	Error     string           `yaml:"error"`      // a code
	Calls     map[string]int   `yaml:"calls"`      // how often the backend was asked meanwhile
}

// firstTime is when tests begin.
const firstTime = "2026-01-01T00:00:00Z"

// Load reads a file of tests and returns it with the path of the configuration. Errors
// have their positions.
func Load(name string) (f *File, path string, err error) {
	content, err := os.ReadFile(name)
	if err != nil {
		return nil, "", err
	}
	var d strictyaml.Decoder
	root := strictyaml.Parse(name, content, &d.Problems)
	if root == nil {
		if err := d.Problems.Err(); err != nil {
			return nil, "", err
		}
		return nil, "", fmt.Errorf("%s: contains no tests", name)
	}
	f = &File{}
	d.Decode(f, root, "")
	node := strictyaml.NewNode(root, "")
	if f.Config == "" {
		d.Problems.Take(node.Errorf("config", "is missing: name the configuration file to test"))
	}
	if len(f.Tests) == 0 {
		d.Problems.Take(node.Errorf("tests", "contains no tests"))
	}
	for i := range f.Tests {
		d.Problems.Take(f.Tests[i].complete(node, fmt.Sprintf("tests[%d]", i)))
	}
	if path = f.Config; !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(name), path)
	}
	return f, path, d.Problems.Err()
}

// complete fills in what is not said, and judges what is.
func (t *Test) complete(file *config.Node, path string) error {
	if t.Store == "" {
		t.Store = "default"
	}
	if t.At == "" {
		t.At = firstTime
	}
	var errs []error
	var err error
	if t.start, err = time.Parse(time.RFC3339, t.At); err != nil {
		errs = append(errs, file.Errorf(path+".at", "%q is not an RFC 3339 time, such as %s", clip(t.At), firstTime))
	}
	if t.Name == "" {
		errs = append(errs, file.Errorf(path, "the test has no name"))
	}
	for _, n := range t.Steps {
		_, err := read(n)
		errs = append(errs, err)
	}
	return config.Join(errs...)
}

// read decodes a step.
func read(n *config.Node) (s step, err error) {
	if err := n.Decode(&s); err != nil {
		return s, err
	}
	done := 0
	for _, there := range []bool{s.Get != nil, s.Backend != nil, s.Put != nil, s.Delete != nil, s.Touch != nil, s.Scan != nil, s.Clear != nil, s.Apply != nil, s.Advance != nil, s.Fault != nil} {
		if there {
			done++
		}
	}
	if done != 1 {
		return s, n.Errorf("", "a step must have exactly one of get, backend, put, delete, touch, scan, clear, apply, advance and fault (got %d)", done)
	}
	if s.Fault != nil && *s.Fault != "none" {
		if _, err := s.fault(n); err != nil {
			return s, err
		}
	}
	var e expect
	if s.Expect != nil {
		if err := s.Expect.Decode(&e); err != nil {
			return s, err
		}
	}
	if e.Error != "" {
		if _, ok := code(e.Error); !ok {
			return s, s.Expect.Errorf("error", "unknown error code %q%s", clip(e.Error), config.Hint(e.Error, codes()))
		}
	}
	for name := range e.Calls {
		if _, ok := calls[name]; !ok {
			return s, s.Expect.Errorf("calls", "unknown call %q%s", clip(name), config.Hint(name, callNames))
		}
	}
	return s, nil
}

// code returns the error code of a name.
func code(name string) (storage.Code, bool) {
	for c := storage.Code(1); c.Known(); c++ {
		if c.Name() == name {
			return c, true
		}
	}
	return 0, false
}

// codes returns the names of all.
func codes() (names []string) {
	for c := storage.Code(1); c.Known(); c++ {
		names = append(names, c.Name())
	}
	return names
}

func clip(s string) string { return s[:min(len(s), 60)] }
