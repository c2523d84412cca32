package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync/atomic"

	"github.com/plinthkv/plinth/storage"
)

// maxLine limits a line, in bytes.
const maxLine = 128 << 20

type importCmd struct {
	Target target `embed:""`
	File   string `arg:"" help:"File written by export, gzip-compressed or not. \"-\" is standard input." type:"given"`
}

// Help returns the text that "plinth import --help" adds.
func (*importCmd) Help() string {
	return `Each line, or each item of a JSON array, is an object with "key" and "value", or "key64" and "value64" in base64, and
optionally "expires_at". An error names its line, or its item of the array; items before it are stored. If a rate limit refuses an item, import waits.
Importing a file twice, or again after an error, is harmless.`
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
	r, err := plainText(counted)
	if err != nil {
		return fmt.Errorf("%s: %w", im.File, err)
	}
	p := newProgress(e.stderr, "imported", size)
	i := importer{to: to, progress: p, file: im.File, read: counted}
	err = i.all(ctx, r)
	p.end(i.stored, counted.n.Load())
	return err
}

// importer stores lines in batches.
type importer struct {
	to       served
	progress *progress
	file     string
	read     *counter
	numbers  []int // of the lines that wait
	ofArray  bool  // they are items of an array
	stored   int64
}

func (i *importer) all(ctx context.Context, r *bufio.Reader) error {
	to := sink{to: i.to, settled: i.settled}
	w := to.writer(ctx, storage.Info{Caps: storage.CapAtomic})
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
				return cause(w.Close(context.WithoutCancel(ctx)))
			}
			i.ofArray = in.ofArray
			if in.err != nil {
				return errors.Join(fmt.Errorf("%s: %w", i.place(in.number, in.number), in.err), cause(w.Close(ctx)))
			}
			i.numbers = append(i.numbers, in.number)
			if err := w.Add(ctx, in.op); err != nil && ctx.Err() != nil {
				return i.interrupted()
			} else if err != nil {
				return cause(err)
			}
		}
	}
}

// settled takes note of ops that are stored, or names the lines of those that are not.
func (i *importer) settled(ops []storage.Op, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", i.place(i.numbers[0], i.numbers[len(ops)-1]), err)
	}
	i.numbers = i.numbers[len(ops):]
	i.stored += int64(len(ops))
	i.progress.at(i.stored, i.read.n.Load())
	return nil
}

// place returns where lines of the file are, or items of its array.
func (i *importer) place(first, last int) string {
	switch {
	case i.ofArray && first == last:
		return fmt.Sprintf("%s: item %d", i.file, first)
	case i.ofArray:
		return fmt.Sprintf("%s: items %d-%d", i.file, first, last)
	case first == last:
		return fmt.Sprintf("%s:%d", i.file, first)
	}
	return fmt.Sprintf("%s:%d-%d", i.file, first, last)
}

func (i *importer) interrupted() error {
	return fmt.Errorf("%s: interrupted after %d items were stored", i.file, i.stored)
}

// inputLine holds a line of the input, or why it could not be read.
type inputLine struct {
	op      storage.Op
	number  int
	ofArray bool // it is an item of a JSON array
	err     error
}

// readLines reads lines while others are being stored, and abandons a silent input when ctx
// ends. It skips empty lines. Each item of a JSON array counts as a line.
func readLines(ctx context.Context, r *bufio.Reader) <-chan inputLine {
	out := make(chan inputLine, setOps)
	go func() {
		defer close(out)
		next := func() ([]byte, error) { return readLine(r) }
		array := beginsArray(r)
		if array {
			next = items(r)
		}
		for n := 1; ; n++ {
			raw, err := next()
			if err == io.EOF {
				return
			}
			if err == nil && len(bytes.TrimSpace(raw)) == 0 {
				continue
			}
			in := inputLine{number: n, ofArray: array, err: err}
			if err == nil {
				var l line
				if l, in.err = parseLine(raw, false); in.err == nil {
					in.op, in.err = l.op()
				} else if !array {
					in.err = inWords(raw, in.err, r)
				}
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

// readLine reads a line of any length up to maxLine, without its end.
func readLine(r *bufio.Reader) ([]byte, error) {
	var raw []byte
	for {
		part, err := r.ReadSlice('\n')
		raw = append(raw, part...)
		switch {
		case len(raw) > maxLine:
			return nil, fmt.Errorf("a line exceeds %d bytes", maxLine)
		case err == bufio.ErrBufferFull:
			continue
		case err == io.EOF && len(raw) > 0:
			return raw, nil
		}
		return bytes.TrimSuffix(raw, []byte("\n")), err
	}
}

// openInput opens a file, or returns stdin for "-". The size is 0 where it is
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

// counter counts the bytes that are read through it. The count may be read at any time.
type counter struct {
	r io.Reader
	n atomic.Int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}
