package main

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

type exportCmd struct {
	Target target `embed:""`
	Bounds bounds `embed:""`
	File   string `arg:"" default:"-" help:"File to write, compressed if its name ends in .gz. \"-\" is standard output." type:"given"`
}

// Help returns the text that "plinth export --help" adds.
func (*exportCmd) Help() string {
	return `The file appears under its name only when it is complete. Each page of the scan is consistent; concurrent writes may
or may not be included.`
}

func (x *exportCmd) Run(ctx context.Context, e env) (err error) {
	out, finish, err := createOutput(x.File, e.stdout)
	if err != nil {
		return err
	}
	defer func() { err = finish(err) }()
	w := bufio.NewWriterSize(out, 256<<10)
	var z *gzip.Writer
	var dst io.Writer = w
	if strings.HasSuffix(x.File, ".gz") {
		z = gzip.NewWriter(w)
		dst = z
	}
	p := newProgress(e.stderr, "exported", 0)
	var items int64
	err = x.Target.with(ctx, func(s served) error {
		return s.scan(ctx, scanQuery{bounds: x.Bounds}, func(l line) error {
			items++
			p.at(items, 0)
			return l.writeJSON(dst)
		})
	})
	if err == nil && z != nil {
		err = z.Close()
	}
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		p.end(items, 0)
	}
	return err
}

// createOutput gives what to write to, and how to finish: without an error a file
// takes its name, with one nothing is left of it. A new file is for this user alone: it
// holds what a store holds. What is no file, such as a pipe,
// is written to as it is.
func createOutput(name string, stdout io.Writer) (io.Writer, func(error) error, error) {
	if name == "-" {
		return stdout, func(err error) error { return err }, nil
	}
	if real, err := filepath.EvalSymlinks(name); err == nil {
		name = real // not to put a file in the place of a link
	}
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return nil, nil, err
		}
		return f, func(err error) error { return errors.Join(err, f.Close()) }, nil
	}
	part := filepath.Join(filepath.Dir(name), fmt.Sprintf(".%s.%d.part", filepath.Base(name), os.Getpid()))
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, nil, err
	}
	if info, err := os.Stat(name); err == nil { // what is replaced keeps its mode
		if err := f.Chmod(info.Mode().Perm()); err != nil {
			return nil, nil, errors.Join(err, f.Close(), os.Remove(part))
		}
	}
	return f, func(err error) error {
		if err == nil {
			err = f.Sync()
		}
		if err = errors.Join(err, f.Close()); err == nil {
			err = os.Rename(part, name)
		}
		if err != nil {
			os.Remove(part)
		}
		return err
	}, nil
}
