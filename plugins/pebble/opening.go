package pebble

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/plinthkv/plinth/storage"
)

// openRoom is how many bytes of the disk must be free for the engine to open, in addition to
// those of its logs, which it writes as tables then.
const openRoom = 8 << 20

// openPatience is for how long the engine may fail at what it does while it opens.
var openPatience = 10 * time.Second

// roomToOpen refuses to open on a full disk, where the engine would retry indefinitely.
func (b *Backend) roomToOpen() error {
	need := int64(openRoom)
	names, _ := b.fs.List(b.dir) // if that fails, the engine says why
	for _, name := range names {
		if info, err := b.fs.Stat(b.fs.PathJoin(b.dir, name)); err == nil && filepath.Ext(name) == ".log" {
			need += info.Size()
		}
	}
	if free := b.disk.look(); free < need {
		e := storage.LimitError(storage.NoSpace, "free bytes of the disk", need, free)
		e.Msg = fmt.Sprintf("the store in %s cannot be opened: the disk is full", b.dir)
		return e
	}
	return nil
}

// opened says what became of opening the engine.
type opened struct {
	lock *pebble.Lock
	db   *pebble.DB
	err  error
}

// lockedEngine locks the folder, makes sure that its files are whole, and opens the engine.
func (b *Backend) lockedEngine() (o opened) {
	if o.err = b.fs.MkdirAll(b.dir, 0o755); o.err != nil {
		return o
	}
	if o.lock, o.err = pebble.LockDirectory(b.dir, b.fs); o.err != nil {
		return o
	}
	defer func() {
		if p := recover(); p != nil { // the engine gives up on some damage by panicking
			o.err = fmt.Errorf("%v", p)
		}
		if o.err != nil {
			o.err = errors.Join(o.err, o.lock.Close())
		}
	}()
	whole, err := breakSeal(b.fs, b.dir)
	if err == nil && !whole {
		err = inspect(b.fs, b.dir)
	}
	if o.err = err; err != nil {
		return o
	}
	options := b.options()
	options.Lock = o.lock
	o.db, o.err = pebble.Open(b.dir, options)
	return o
}

// engine opens the engine, for as long as ctx allows. While the engine fails at its own work
// it never returns; then engine does without it, and closes it should it open after all.
func (b *Backend) engine(ctx context.Context) (*pebble.DB, error) {
	done := make(chan opened, 1)
	go func() { done <- b.lockedEngine() }()
	look := time.NewTicker(min(openPatience/4, 250*time.Millisecond))
	defer look.Stop()
	for {
		select {
		case o := <-done:
			if o.err != nil {
				return nil, b.refused(o.err)
			}
			b.lock = o.lock
			return o.db, nil
		case <-ctx.Done():
			go abandon(done)
			return nil, storage.ContextError(ctx)
		case <-look.C:
			if since, why := b.wear.failing(); since > openPatience {
				go abandon(done)
				return nil, storage.Errorf(storage.Unavailable, "the store in %s cannot be opened: %s", b.dir, why)
			}
		}
	}
}

// abandon closes an engine that opens too late.
func abandon(done <-chan opened) {
	if o := <-done; o.db != nil {
		_ = errors.Join(o.db.Close(), o.lock.Close()) // nothing was written to it
	}
}
