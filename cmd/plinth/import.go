package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// What goes into one apply, at most.
const (
	importOps   = 1000
	importBytes = 1 << 20
	maxLine     = 128 << 20
)

type importCmd struct {
	Target target `embed:""`
	File   string `arg:"" help:"The file, as export writes it; gzip if it ends in .gz; \"-\" is standard input."`
}

// Help is what "plinth import --help" adds.
func (*importCmd) Help() string {
	return `Each line is an object with "key" and "value", or "key64" and "value64" in base64, and
"expires_at" where the item expires. An error names its line; what was before it is in. Items are
put, so that importing a file twice, or again after an error, is harmless.`
}

func (im *importCmd) Run(ctx context.Context, e env) (err error) {
	to, err := im.Target.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.close()) }()
	in, size, err := openInput(im.File, e.stdin)
	if err != nil {
		return err
	}
	defer in.Close()
	counted := &counter{r: in}
	var r io.Reader = counted
	if strings.HasSuffix(im.File, ".gz") {
		if r, err = gzip.NewReader(counted); err != nil {
			return fmt.Errorf("%s: %w", im.File, err)
		}
	}
	p := newProgress(e.stderr, "imported", size)
	i := importer{to: to, progress: p, file: im.File, read: counted}
	err = i.all(ctx, r)
	p.end(i.stored, counted.n)
	return err
}

// importer stores lines in batches.
type importer struct {
	to       served
	progress *progress
	file     string
	read     *counter
	lines    []line
	bytes    int
	first    int // number of the first line
	last     int // line of the last
	stored   int64
}

func (i *importer) all(ctx context.Context, r io.Reader) error {
	lines := readLines(ctx, r)
	for {
		select {
		case <-ctx.Done():
			return i.interrupted()
		case in, more := <-lines:
			if !more && ctx.Err() != nil {
				return i.interrupted()
			}
			if !more {
				return i.flush(ctx)
			}
			if in.err != nil {
				return errors.Join(fmt.Errorf("%s:%d: %w", i.file, in.number, in.err), i.flush(ctx))
			}
			if i.last = in.number; len(i.lines) == 0 {
				i.first = in.number
			}
			i.lines = append(i.lines, in.line)
			if i.bytes += in.size; len(i.lines) < importOps && i.bytes < importBytes {
				continue
			}
			if err := i.flush(ctx); err != nil {
				return err
			}
		}
	}
}

func (i *importer) interrupted() error {
	return fmt.Errorf("%s: interrupted; %d items are in", i.file, i.stored)
}

// inputLine is a line of the input, or why it could not be read.
type inputLine struct {
	line
	number int
	size   int
	err    error
}

// readLines reads beside what is stored, and lets go of an input that says
// nothing when ctx ends. Empty lines are passed over.
func readLines(ctx context.Context, r io.Reader) <-chan inputLine {
	out := make(chan inputLine, importOps)
	go func() {
		defer close(out)
		lines := bufio.NewReaderSize(r, 256<<10)
		for n := 1; ; n++ {
			raw, err := readLine(lines)
			if err == io.EOF {
				return
			}
			if err == nil && len(bytes.TrimSpace(raw)) == 0 {
				continue
			}
			in := inputLine{number: n, size: len(raw), err: err}
			if err == nil {
				in.line, in.err = parseLine(raw, false)
			}
			select {
			case out <- in:
			case <-ctx.Done():
				return
			}
			if in.err != nil {
				return
			}
		}
	}()
	return out
}

// flush stores what has been gathered. A signal does not end it halfway: it is
// looked at before.
func (i *importer) flush(ctx context.Context) error {
	if len(i.lines) == 0 {
		return nil
	}
	if ctx.Err() != nil {
		return i.interrupted()
	}
	if err := i.to.load(context.WithoutCancel(ctx), i.lines); err != nil {
		return fmt.Errorf("%s:%d-%d: %w", i.file, i.first, i.last, err)
	}
	i.stored += int64(len(i.lines))
	i.lines, i.bytes = i.lines[:0], 0
	i.progress.at(i.stored, i.read.n)
	return nil
}

// put is the line as an op.
func (l line) put() object {
	o := object{}.field("op", "put").bytes("key", l.key).bytes("value", l.value)
	if l.expiresAt != "" {
		o = o.field("expires_at", l.expiresAt)
	}
	return o
}

// readLine reads a line of any length up to maxLine, without its end.
func readLine(r *bufio.Reader) ([]byte, error) {
	var raw []byte
	for {
		part, err := r.ReadSlice('\n')
		raw = append(raw, part...)
		switch {
		case len(raw) > maxLine:
			return nil, fmt.Errorf("a line of more than %d bytes", maxLine)
		case err == bufio.ErrBufferFull:
			continue
		case err == io.EOF && len(raw) > 0:
			return raw, nil
		}
		return bytes.TrimSuffix(raw, []byte("\n")), err
	}
}

// openInput opens a file, or answers stdin for "-". The size is 0 where it is
// not known.
func openInput(name string, stdin io.Reader) (io.ReadCloser, int64, error) {
	if name == "-" {
		return io.NopCloser(stdin), 0, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = &fs.PathError{Op: "import", Path: name, Err: errors.New("is a directory")}
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// counter counts the bytes that are read through it.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
