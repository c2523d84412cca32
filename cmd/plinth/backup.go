package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/plinthkv/plinth/internal/backoff"
	"github.com/plinthkv/plinth/internal/backup"
	"github.com/plinthkv/plinth/storage"
)

type backupCmd struct {
	Server endpoint `embed:""`
	Store  string   `arg:"" help:"Name of the store."`
	File   string   `arg:"" help:"File to write. An existing file is replaced." type:"given"`
	Resume bool     `help:"Continue the partial file of an interrupted backup, if there is one."`
}

// Help returns the text that "plinth backup --help" adds.
func (*backupCmd) Help() string {
	return `The store must have the capability snapshot_scan. The file contains one state of the store, compressed, with expiries
and a checksum; docs/backup.md describes the format. The file has mode 0600, or that of the file it replaces, and appears under its name only when it is complete.
If the connection breaks, the backup continues from the last item, as long as the store keeps the state that it reads.

An interrupted backup leaves FILE.part and FILE.resume. With --resume, the same command continues it in the same state of the
store. If the store no longer keeps that state, it exits with 4 and changes nothing: memory, pebble and postgres lose it when the
server restarts, and after a time, which docs/backup.md names. Without --resume, a backup starts again, and replaces the partial
file.`
}

// stateSuffix is what the name of a backup's resume file ends in.
const stateSuffix = ".resume"

func (b *backupCmd) Run(ctx context.Context, e env) error {
	if b.File == "-" {
		return usagef("a backup is written to a file: name one in place of -")
	}
	t := target{b.Server, b.Store}
	return t.with(ctx, func(from served) error {
		info, err := from.info(ctx)
		if err != nil {
			return err
		}
		if !info.Caps.Has(storage.CapSnapshotScan) {
			return fmt.Errorf("%s cannot be backed up: its backend, %s, does not support snapshots (no snapshot_scan); use plinth export", t, info.Name)
		}
		if !tellsExpiries(info) {
			return fmt.Errorf("%s cannot be backed up: its backend, %s, does not return expiries (no expiry_on_read)", t, info.Name)
		}
		file, err := backup.Target(b.File)
		if err != nil {
			return err
		}
		w, done, err := b.begin(ctx, from, t, file)
		if err != nil {
			return err
		}
		p := newProgress(e.stderr, "backed up", 0)
		p.before = done.Items
		defer p.leave()
		defer p.count(ctx, from, rest(bounds{}, done.After))()
		if err := all(ctx, from, w, done, p, e); err != nil {
			return done.interrupted(ended(ctx.Done(), err), w, file)
		}
		if err := w.Commit(); err != nil {
			return fmt.Errorf("%w; %s", err, done.goOn(file))
		}
		items := int64(w.Header().Items) - p.before
		p.end(items, items)
		return os.Remove(done.file)
	})
}

// begin returns what writes the file, and how far it has come.
func (b *backupCmd) begin(ctx context.Context, from served, t target, file string) (*backup.Writer, *resume, error) {
	j := job{Command: "backup", From: t.String(), To: strings.ToValidUTF8(filepath.Base(file), "\ufffd")}
	if b.Resume {
		if _, err := os.Lstat(file + backup.PartSuffix); !errors.Is(err, fs.ErrNotExist) {
			return again(ctx, from, j, file)
		}
	}
	version, err := from.version(ctx)
	if err != nil {
		return nil, nil, err
	}
	w, err := backup.Create(file)
	if err != nil {
		return nil, nil, err
	}
	done := &resume{file: file + stateSuffix, resumed: resumed{Format: resumeFormat, job: j, At: version}}
	if err := done.mark(w); err != nil {
		return nil, nil, errors.Join(err, w.Abort())
	}
	return w, done, nil
}

// again returns the same of a backup that was interrupted, if the store has its state still.
func again(ctx context.Context, from served, j job, file string) (*backup.Writer, *resume, error) {
	done, err := load(file+stateSuffix, j)
	if err == nil && (done.Part == nil || done.At == 0) {
		err = fmt.Errorf("--resume: %s names no state of the store", done.file)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%w; start again without --resume, which replaces %s", err, file+backup.PartSuffix)
	}
	m := *done.Part
	m.Items, m.Last = uint64(done.Items), done.After
	w, err := backup.Resume(ctx, file, m, done.keeping(ctx, from))
	switch {
	case errors.Is(err, backup.ErrUnusable):
		return nil, nil, fmt.Errorf("%w; start again without --resume, which replaces it", err)
	case errors.Is(err, backup.ErrInUse):
		return nil, nil, err
	case err != nil:
		return nil, nil, done.over(ended(ctx.Done(), err), file)
	}
	return w, done, nil
}

// mark records that the file can be continued behind the latest item.
func (r *resume) mark(w *backup.Writer) error {
	m, err := w.Mark()
	if err != nil {
		return err
	}
	r.Part, r.Items, r.After = &m, int64(m.Items), m.Last
	return r.save()
}

// everyKeep is how often a state is read that nothing else is read of meanwhile: stores keep one
// for a time after the latest read.
const everyKeep = 10 * time.Second

// keeping returns what reads an item of the state now and then, and fails once it is gone.
func (r *resume) keeping(ctx context.Context, from served) func() error {
	var last time.Time
	return func() error {
		if time.Since(last) < everyKeep {
			return nil
		}
		defer func() { last = time.Now() }()
		q := scanQuery{bounds: rest(bounds{}, r.After), at: r.At, limit: 1, keysOnly: true}
		return scanWithin(ctx, scanSilence, from, q, func(line) error { return nil })
	}
}

// interrupted keeps what was written for another run, and has the error say so.
func (r *resume) interrupted(err error, w *backup.Writer, file string) error {
	if w.Header().Items == 0 {
		return errors.Join(fmt.Errorf("%w: %s was not written; start the backup again", err, file), w.Abort(), os.Remove(r.file))
	}
	marked := r.mark(w)
	if errors.Is(err, marked) {
		marked = nil
	}
	return errors.Join(r.over(err, file), marked, w.Close())
}

// over has an error say whether the backup can be continued.
func (r *resume) over(err error, file string) error {
	if storage.CodeOf(err) != storage.Conflict {
		return fmt.Errorf("%w; %s", err, r.goOn(file))
	}
	return fmt.Errorf("%w; the store no longer keeps the state of version %d, of which %d items are in %s: start again without --resume",
		err, r.At, r.Items, file+backup.PartSuffix)
}

func (r *resume) goOn(file string) string {
	return fmt.Sprintf("%d items are in %s: run the same command with --resume to continue; "+
		"this requires that the store still keeps their state, which most backends lose when the server restarts", r.Items, file+backup.PartSuffix)
}

// all writes the items of a state that are beyond those that are in the file. Where the connection
// breaks, it goes on behind the last item, in the same state of the store.
func all(ctx context.Context, from served, w *backup.Writer, done *resume, p *progress, e env) error {
	last, had := done.After, done.Items
	for n := 1; ; n++ {
		before := w.Header().Items
		err := scanWithin(ctx, scanSilence, from, scanQuery{bounds: rest(bounds{}, last), at: done.At}, func(l line) error {
			op, err := l.op()
			if err == nil {
				err = w.Add(storage.Item{Key: op.Key, Value: op.Value, ExpiresAt: op.ExpiresAt, Version: l.version})
			}
			if err == nil && time.Since(done.saved) >= everySave {
				err = done.mark(w)
			}
			if err != nil {
				return &exitError{exitFailed, err}
			}
			last = append([]byte{}, op.Key...)
			items := int64(w.Header().Items) - had
			p.at(items, items)
			return nil
		})
		if w.Header().Items > before {
			n = 1
		}
		if err == nil || ctx.Err() != nil || !broken(err) || n == mostBroken {
			return err
		}
		fmt.Fprintf(e.stderr, "plinth: the connection broke after %d items, trying again: %v\n", w.Header().Items, err)
		if !backoff.Wait(ctx, backoff.Doubling{First: firstAgain, Most: lastAgain}.Half(n), nil) {
			return err
		}
	}
}

// mostBroken limits how often in a row a scan may break off without an item.
const mostBroken = 8

// tellsExpiries reports whether what is read of a store has the expiries that it has there.
func tellsExpiries(i storage.Info) bool {
	return !i.Caps.Has(storage.CapTTL) || i.Caps.Has(storage.CapExpiryOnRead)
}
