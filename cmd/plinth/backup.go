package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/plinthkv/plinth/internal/backoff"
	"github.com/plinthkv/plinth/internal/backup"
	"github.com/plinthkv/plinth/storage"
)

type backupCmd struct {
	Server endpoint `embed:""`
	Store  string   `arg:"" help:"Name of the store."`
	File   string   `arg:"" help:"File to write. An existing file is replaced."`
}

// Help returns the text that "plinth backup --help" adds.
func (*backupCmd) Help() string {
	return `The store must have the capability snapshot_scan. The file contains one state of the store, compressed, with expiries
and a checksum; docs/backup.md describes the format. The file has mode 0600, and appears under its name only when it is complete:
after an error or a signal, nothing of it remains. If the connection breaks, the backup continues from the last item, as long as the
store keeps the state that it reads. An interrupted backup cannot be resumed later, because that state is gone by then.`
}

func (b *backupCmd) Run(ctx context.Context, e env) error {
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
		w, err := backup.Create(b.File)
		if err != nil {
			return err
		}
		p := newProgress(e.stderr, "backed up", 0)
		defer p.leave()
		defer p.count(ctx, from, bounds{})()
		if err := all(ctx, from, w, p, e); err != nil {
			err = ended(ctx.Done(), err)
			return errors.Join(fmt.Errorf("%w: %s was not written; start the backup again", err, b.File), w.Abort())
		}
		if err := w.Commit(); err != nil {
			return err
		}
		items := int64(w.Header().Items)
		p.end(items, items)
		return nil
	})
}

// all writes all items that a store has now. Where the connection breaks, it goes on behind the
// last item, in the same state of the store.
func all(ctx context.Context, from served, w *backup.Writer, p *progress, e env) error {
	version, err := from.version(ctx)
	if err != nil {
		return err
	}
	var last []byte
	for n := 1; ; n++ {
		before := w.Header().Items
		err := scanWithin(ctx, scanSilence, from, scanQuery{bounds: rest(bounds{}, last), at: version}, func(l line) error {
			op, err := l.op()
			if err == nil {
				err = w.Add(storage.Item{Key: op.Key, Value: op.Value, ExpiresAt: op.ExpiresAt, Version: l.version})
			}
			if err != nil {
				return &exitError{exitFailed, err}
			}
			last = append([]byte{}, op.Key...)
			items := int64(w.Header().Items)
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
