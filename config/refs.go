package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/plinthkv/plinth/config/internal/strictyaml"
)

const (
	maxRefFile  = 64 << 10 // of one ${file:}
	maxResolved = 1 << 20  // of all references together
)

// resolver replaces the references in a tree.
type resolver struct {
	env      environ
	dir      string // what relative paths start from
	files    map[string]fileContent
	resolved int // bytes so far
	problems *strictyaml.Problems
}

type fileContent struct {
	text string
	err  error
}

// tree resolves every scalar below v. Values from the environment are used unchanged, but
// must not look like a reference, because readers would take them for one.
func (r *resolver) tree(v *strictyaml.Value, path string) {
	switch v.Kind {
	case strictyaml.Mapping:
		for _, e := range v.Entries {
			r.tree(e.Value, strictyaml.Key(path, e.Name))
		}
	case strictyaml.List:
		for i, item := range v.Items {
			r.tree(item, strictyaml.Item(path, i))
		}
	case strictyaml.Scalar:
		if v.Broken {
			return
		}
		var err error
		if v.Origin == strictyaml.Environment {
			err = noReference(v.Data(), "the variable")
		} else {
			err = r.scalar(v)
		}
		if err != nil {
			v.Broken = true
			r.problems.Add(v.Where(), path, err.Error())
		}
	}
}

func (r *resolver) scalar(v *strictyaml.Value) error {
	data, found, err := expand(v.Text, r.lookup)
	if err != nil {
		return err
	}
	v.SetData(data)
	if found {
		v.Origin = strictyaml.Reference
	}
	return nil
}

// expand replaces the references in text, and says whether there were any.
func expand(text string, lookup func(scheme, arg string) (string, error)) (out string, found bool, err error) {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(text, "$")
		b.WriteString(before)
		switch {
		case !ok:
			return b.String(), found, nil
		case strings.HasPrefix(rest, "$"):
			b.WriteByte('$')
			text = rest[1:]
		case strings.HasPrefix(rest, "{"):
			body, after, closed := strings.Cut(rest[1:], "}")
			if !closed {
				return "", found, fmt.Errorf("the reference %s is not closed with }", strictyaml.Clip("$"+rest))
			}
			if strings.Contains(body, "${") {
				return "", found, fmt.Errorf("the reference %s contains another reference: references cannot be nested", strictyaml.Clip("${"+body+"}"))
			}
			scheme, arg, _ := strings.Cut(body, ":")
			value, err := lookup(scheme, arg)
			if err != nil {
				return "", found, fmt.Errorf("the reference %s %w", strictyaml.Clip("${"+body+"}"), err)
			}
			b.WriteString(value)
			found = true
			text = after
		default: // a dollar that begins nothing
			b.WriteByte('$')
			text = rest
		}
	}
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// lookup returns the value of one reference. Its error is the rest of a sentence that
// begins with the reference.
func (r *resolver) lookup(scheme, arg string) (text string, err error) {
	switch scheme {
	case "env":
		text, err = r.variable(arg)
	case "file":
		text, err = r.file(arg)
	default:
		return "", fmt.Errorf("is of an unknown kind: use ${env:NAME}, ${env:NAME:-default} or ${file:PATH}, and $$ for a dollar sign")
	}
	if err != nil {
		return "", err
	}
	if r.resolved += len(text); r.resolved > maxResolved {
		return "", fmt.Errorf("exceeds the limit of %d bytes for all references together", maxResolved)
	}
	return text, nil
}

func (r *resolver) variable(arg string) (string, error) {
	name, otherwise, has := strings.Cut(arg, ":-")
	if !variableName.MatchString(name) {
		return "", errors.New("has an invalid variable name: use letters, digits and underscores")
	}
	text, set := r.env[name]
	switch {
	case has && text == "":
		return otherwise, nil
	case !set:
		return "", errors.New("names a variable that is not set")
	case text == "":
		return "", fmt.Errorf("names a variable that is empty: use ${env:%s:-} to allow that", name)
	case !utf8.ValidString(text):
		return "", errors.New("names a variable that is not UTF-8")
	}
	return text, noReference(text, "names a variable that")
}

// noReference refuses text that refers on: following it could go in circles, and
// passing it on as it is would surprise.
func noReference(text, subject string) error {
	if strings.Contains(text, "${env:") || strings.Contains(text, "${file:") {
		return fmt.Errorf("%s contains another reference: references are not expanded recursively", subject)
	}
	return nil
}

func (r *resolver) file(path string) (string, error) {
	switch {
	case path == "":
		return "", errors.New("does not name a file")
	case strings.ContainsRune(path, 0):
		return "", errors.New("contains a zero byte in its path")
	case !filepath.IsAbs(path):
		path = filepath.Join(r.dir, path)
	}
	c, known := r.files[path]
	if !known {
		c.text, c.err = readRef(path)
		if r.files == nil {
			r.files = make(map[string]fileContent)
		}
		r.files[path] = c
	}
	return c.text, c.err
}

func readRef(path string) (string, error) {
	b, err := readFile(path, maxRefFile)
	if err != nil {
		return "", fmt.Errorf("cannot be read: %w", err)
	}
	defer clear(b)
	if !utf8.Valid(b) {
		return "", errors.New("names a file that is not UTF-8")
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	if text == "" {
		return "", errors.New("names a file that is empty")
	}
	return text, noReference(text, "names a file that")
}

// readFile reads a regular file of at most most bytes. It never waits: without
// O_NONBLOCK, opening a pipe would wait for a writer. Its errors do not repeat the path.
func readFile(path string, most int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, reason(err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, reason(err)
	case info.IsDir():
		return nil, errors.New("is a directory")
	case !info.Mode().IsRegular():
		return nil, errors.New("is not a regular file")
	}
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	switch {
	case err != nil:
		return nil, reason(err)
	case int64(len(b)) > most:
		return nil, fmt.Errorf("is larger than %d bytes", most)
	}
	return b, nil
}

// reason returns what went wrong with a file, without the path.
func reason(err error) error {
	var p *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("no such file")
	case errors.Is(err, fs.ErrPermission):
		return errors.New("permission denied")
	case errors.As(err, &p):
		return p.Err
	}
	return err
}
