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
	File   string   `arg:"" help:"The file, which is replaced if it exists."`
}

// Help is what "plinth backup --help" adds.
func (*backupCmd) Help() string {
	return `The store must have the capability snapshot_scan. The file holds one state of it, compressed, with expiries
and a checksum; docs/backup.md has the format. It has mode 0600, and takes its name only when it is whole: an error
or a signal leaves nothing of it. A backup cannot go on after an interruption, because the state is gone by then.`
}

func (b *backupCmd) Run(ctx context.Context, e env) error {
	t := target{b.Server, b.Store}
	return t.with(ctx, func(from served) error {
		info, err := from.info(ctx)
		if err != nil {
			return err
		}
		if !info.Caps.Has(storage.CapSnapshotScan) {
			return fmt.Errorf("%s cannot be backed up: its backend, %s, cannot read one state (no snapshot_scan); see plinth export", t, info.Name)
		}
		if !tellsExpiries(info) {
			return fmt.Errorf("%s cannot be backed up: its backend, %s, does not tell when items expire (no expiry_on_read)", t, info.Name)
		}
		w, err := backup.Create(b.File)
		if err != nil {
			return err
		}
		p := newProgress(e.stderr, "backed up", 0).onTerminalOnly()
		defer p.leave()
		defer p.count(ctx, from, bounds{})()
		if err := all(ctx, from, w, p); err != nil {
			err = ended(ctx.Done(), err)
			return errors.Join(fmt.Errorf("%w: %s was not written, and has to be begun anew", err, b.File), w.Abort())
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
