package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/plinthkv/plinth/internal/backup"
	"github.com/plinthkv/plinth/storage"
)

type restoreCmd struct {
	Server endpoint `embed:""`
	Store  string   `arg:"" help:"Name of the store."`
	File   string   `arg:"" help:"File written by backup." type:"given"`
	Over   bool     `help:"Restore into a store that is not empty, replacing items with the same keys. Other keys stay."`
	Resume string   `help:"Record progress in this file, and resume from it if it exists." placeholder:"FILE" type:"given"`
}

// Help returns the text that "plinth restore --help" adds.
func (*restoreCmd) Help() string {
	return `Before anything is written, the whole file is read, and its checksum, its items and the limits of the store are checked.
Items keep their expiries, and get new versions. They are stored in the order of their keys, so that restoring again
after an interruption is harmless: from the beginning with --over, or from where it stopped with --resume.`
}

func (r *restoreCmd) Run(ctx context.Context, e env) error {
	f, err := backup.Open(r.File)
	if err != nil {
		return err
	}
	defer f.Close()
	t := target{r.Server, r.Store}
	return t.with(ctx, func(to served) error {
		info, err := to.info(ctx)
		if err != nil {
			return err
		}
		id, err := check(ctx, f, info, e)
		if err = ended(ctx.Done(), err); err != nil {
			return fmt.Errorf("%w; nothing was written", err)
		}
		from, again, err := begin(r.Resume, job{Command: "restore", From: "sha256:" + id, To: t.String()})
		if err != nil {
			return err
		}
		if !again && !r.Over {
			if err := empty(ctx, to, t); err != nil {
				return errors.Join(err, from.end(nil, ""))
			}
		}
		p := newProgress(e.stderr, "restored", int64(f.Header().Bytes))
		defer p.leave()
		return from.end(ended(ctx.Done(), restore(ctx, f, to, info, from, p)), "restoring again with --over stores all of them")
	})
}

// check reads the whole file. It is an error if the store cannot take an item.
func check(ctx context.Context, f *backup.File, info storage.Info, e env) (id string, err error) {
	p := newProgress(e.stderr, "checked", int64(f.Header().Bytes))
	defer p.leave()
	var items int64
	return f.Check(ctx, func(it backup.Entry) error {
		items++
		p.at(items, it.Bytes)
		if !it.ExpiresAt.IsZero() && !info.Caps.Has(storage.CapTTL) {
			return fmt.Errorf("item %d expires, which the store does not support", items)
		}
		set := storage.WriteSet{Ops: []storage.Op{storage.Put(it.Key, it.Value)}}
		if err := set.CheckSizes(info.Limits); err != nil {
			return fmt.Errorf("the store refused item %d: %w", items, err)
		}
		return nil
	})
}

// empty returns an error if a store has an item.
func empty(ctx context.Context, s served, t target) error {
	has := false
	err := s.scan(ctx, scanQuery{limit: 1, keysOnly: true}, func(line) error { has = true; return nil })
	if err == nil && has {
		err = fmt.Errorf("%s is not empty; use --over to replace items with those of the backup", t)
	}
	return err
}

// restore puts the items of a file that are beyond those that are in.
func restore(ctx context.Context, f *backup.File, to served, info storage.Info, done *resume, p *progress) error {
	var read, passed int64 // bytes of records, and of those that were in
	p.before = done.Items
	s := sink{to: to, settled: func(ops []storage.Op, err error) error {
		if err != nil {
			return err
		}
		err = done.stored(ops)
		p.at(done.Items-p.before, read-passed)
		return err
	}}
	w := s.writer(ctx, info)
	for it, err := range f.Items(ctx) {
		if err != nil {
			return err
		}
		if done.After != nil && bytes.Compare(it.Key, done.After) <= 0 {
			passed = it.Bytes
			continue
		}
		read, p.total = it.Bytes, int64(f.Header().Bytes)-passed
		if err := w.Add(ctx, storage.PutUntil(it.Key, it.Value, it.ExpiresAt)); err != nil {
			return cause(err)
		}
	}
	if err := w.Close(ctx); err != nil {
		return cause(err)
	}
	p.end(done.Items-p.before, read-passed)
	return nil
}
