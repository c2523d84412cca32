package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/plinthkv/plinth/internal/backup"
	"github.com/plinthkv/plinth/storage"
)

type backupCmd struct {
	Server endpoint `embed:""`
	Store  string   `arg:"" help:"Name of the store."`
	File   string   `arg:"" help:"File to write. An existing file is replaced."`
}

// Help is what "plinth backup --help" adds.
func (*backupCmd) Help() string {
	return `The store must have the capability snapshot_scan. The file contains one state of the store, compressed, with expiries
and a checksum; docs/backup.md describes the format. The file has mode 0600, and appears under its name only when it is complete:
after an error or a signal, nothing of it remains. An interrupted backup cannot be resumed, because its snapshot is gone.`
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
		if err := all(ctx, from, w, p); err != nil {
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

// all writes all items of a store.
func all(ctx context.Context, from served, w *backup.Writer, p *progress) error {
	return scanWithin(ctx, scanSilence, from, scanQuery{snapshot: true}, func(l line) error {
		op, err := l.op()
		if err != nil {
			return err
		}
		if err := w.Add(storage.Item{Key: op.Key, Value: op.Value, ExpiresAt: op.ExpiresAt, Version: l.version}); err != nil {
			return err
		}
		items := int64(w.Header().Items)
		p.at(items, items)
		return nil
	})
}

// tellsExpiries reports whether what is read of a store has the expiries that it has there.
func tellsExpiries(i storage.Info) bool {
	return !i.Caps.Has(storage.CapTTL) || i.Caps.Has(storage.CapExpiryOnRead)
}
