package main

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
)

type exportCmd struct {
	Target target `embed:""`
	Bounds bounds `embed:""`
	File   string `arg:"" default:"-" help:"The file; gzip if it ends in .gz; \"-\" is standard output."`
}

// Help is what "plinth export --help" adds.
func (*exportCmd) Help() string {
	return `A file appears under its name only when it is whole. Each page of the scan is consistent in
itself; what others write meanwhile may be in or not.`
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
	err = scanTo(ctx, x.Target, x.Bounds.query(), func(l line) error {
		items++
		p.at(items, 0)
		return l.writeJSON(dst)
	})
	if z != nil {
		err = errors.Join(err, z.Close())
	}
	if err = errors.Join(err, w.Flush()); err == nil {
		p.end(items, 0)
	}
	return err
}

// createOutput gives what to write to, and how to finish: without an error the
// file takes its name, with one nothing is left of it.
func createOutput(name string, stdout io.Writer) (io.Writer, func(error) error, error) {
	if name == "-" {
		return stdout, func(err error) error { return err }, nil
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return nil, nil, err
	}
	return f, func(err error) error {
		if err == nil {
			err = f.Sync()
		}
		if err = errors.Join(err, f.Close()); err == nil {
			err = os.Chmod(f.Name(), 0o644)
		}
		if err == nil {
			err = os.Rename(f.Name(), name)
		}
		if err != nil {
			os.Remove(f.Name())
		}
		return err
	}, nil
}
