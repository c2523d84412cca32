package postgres

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/plinthkv/plinth/storage"
)

// errNotKept reports that no transaction of a version is kept.
var errNotKept = errors.New("not kept")

// view holds a transaction that sees the state of a version.
type view struct {
	version uint64
	conn    *conn
	busy    chan struct{} // of one: of who reads
	until   int64         // ms
	claimed bool          // a page went on in it
	dropped bool          // it is in no list: whoever reads last closes it
}

// views holds the transactions that scans go on in, least recently used first.
type views struct {
	mu   sync.Mutex
	kept []*view
}

// take returns the view of a version, which is to be put back, or nil if there is none.
func (s *views) take(ctx context.Context, version uint64, now int64) (*view, error) {
	s.mu.Lock()
	var found *view
	for i, v := range s.kept {
		if v.version == version && v.until > now {
			found = v
			s.kept = append(append(s.kept[:i], s.kept[i+1:]...), v)
			v.claimed = true
			break
		}
	}
	s.mu.Unlock()
	if found == nil {
		return nil, errNotKept
	}
	select {
	case found.busy <- struct{}{}:
	case <-ctx.Done():
		return nil, storage.ContextError(ctx)
	}
	if s.isDropped(found) {
		s.put(found, 0)
		return nil, errNotKept
	}
	return found, nil
}

func (s *views) isDropped(v *view) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return v.dropped
}

// put gives a view back, which is kept until then; if until is 0, it is not kept.
func (s *views) put(v *view, until int64) {
	s.mu.Lock()
	if until != 0 {
		v.until = until
	} else {
		s.drop(v)
	}
	closes := v.dropped && v.conn != nil
	conn := v.conn
	if closes {
		v.conn = nil
	}
	s.mu.Unlock()
	<-v.busy
	if closes {
		rollback(conn)
	}
}

// drop takes a view out of the list. The lock is held.
func (s *views) drop(v *view) {
	v.dropped = true
	for i := range s.kept {
		if s.kept[i] == v {
			s.kept = append(s.kept[:i], s.kept[i+1:]...)
			return
		}
	}
}

// has reports whether the state of a version is kept, and for how long it is now.
func (s *views) has(version uint64, now, until int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.kept {
		if v.version == version && v.until > now {
			v.until = max(v.until, until)
			return true
		}
	}
	return false
}

// add keeps a view; at most so many are. Views in which no page went on go first.
func (s *views) add(v *view, most int) {
	s.mu.Lock()
	s.kept = append(s.kept, v)
	var gone []*view
	for len(s.kept) > most {
		first := s.kept[0]
		for _, k := range s.kept[:len(s.kept)-1] {
			if !k.claimed {
				first = k
				break
			}
		}
		s.drop(first)
		gone = append(gone, first)
	}
	s.mu.Unlock()
	s.close(gone)
}

// close closes dropped views, except those in use: their last reader closes them.
func (s *views) close(gone []*view) {
	for _, v := range gone {
		select {
		case v.busy <- struct{}{}:
			s.put(v, 0)
		default:
		}
	}
}

// tidy drops what was kept long enough.
func (s *views) tidy(now int64) {
	s.mu.Lock()
	var gone []*view
	for _, v := range append([]*view(nil), s.kept...) {
		if v.until <= now {
			s.drop(v)
			gone = append(gone, v)
		}
	}
	s.mu.Unlock()
	s.close(gone)
}

// closeAll drops all views. There must be no readers.
func (s *views) closeAll() { s.tidy(1<<63 - 1) }

// rollback ends the transaction of a connection and gives it back.
func rollback(conn *conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, _ = conn.Exec(ctx, "rollback") // where it fails, the pool closes the connection
	conn.Release()
}

// scanKept returns a page of a state that is kept.
func (b *Backend) scanKept(ctx context.Context, q storage.Query) (storage.Page, error) {
	if !b.gate.enter() {
		return storage.Page{}, errClosed()
	}
	defer b.gate.leave()
	within, cancel := context.WithTimeout(ctx, time.Duration(b.config.Timeouts.Scan))
	defer cancel()
	v, err := b.views.take(within, q.AtVersion, b.now())
	if err != nil {
		return storage.Page{}, err
	}
	page, err := b.page(within, v.conn, q)
	if err != nil {
		b.views.put(v, 0)
		switch {
		case ctx.Err() != nil:
			return storage.Page{}, storage.ContextError(ctx)
		case within.Err() != nil:
			return storage.Page{}, failed(err)
		case broken(err), stateOf(err) != "":
			return storage.Page{}, conflictGone() // the server ended it
		}
		return storage.Page{}, failed(err)
	}
	page.Version = v.version
	b.views.put(v, b.keptUntil())
	return page, nil
}

func (b *Backend) keptUntil() int64 { return b.now() + int64(b.config.SnapshotLife)/1e6 }

// keep has the state of a page stay for those that follow. Should another write have come
// meanwhile, the page is read again, of a state that is kept.
func (b *Backend) keep(ctx context.Context, q storage.Query, page storage.Page) (storage.Page, error) {
	until := b.keptUntil()
	if b.views.has(page.Version, b.now(), until) {
		return page, nil
	}
	if !b.gate.enter() {
		return storage.Page{}, errClosed()
	}
	defer b.gate.leave()
	within, cancel := context.WithTimeout(ctx, time.Duration(b.config.Timeouts.Scan))
	defer cancel()
	v, err := b.view(within)
	if err != nil { // the page is right; those that follow will not find its state
		b.log.Debug("the state of a scan is not kept", "error", failed(err))
		return page, nil
	}
	if v.version != page.Version {
		again, err := b.page(within, v.conn, q)
		if err != nil || q.AtVersion != 0 || again.Next == nil {
			rollback(v.conn)
			switch {
			case err == nil && q.AtVersion != 0:
				return page, nil
			case ctx.Err() != nil:
				return storage.Page{}, storage.ContextError(ctx)
			case err != nil:
				return storage.Page{}, failed(err)
			}
			return again, nil
		}
		page = again
	}
	v.until = until
	b.views.add(v, b.config.Snapshots)
	return page, nil
}

// view begins a transaction that sees one state, and says which.
func (b *Backend) view(ctx context.Context) (*view, error) {
	conn, err := b.acquire(ctx, &b.lanes.snap)
	if err != nil {
		return nil, err
	}
	batch := &pgx.Batch{}
	batch.Queue("begin isolation level repeatable read, read only")
	var version int64
	batch.Queue(b.sql.version).QueryRow(func(row pgx.Row) error { return row.Scan(&version) })
	if err := conn.SendBatch(ctx, batch).Close(); err != nil {
		conn.Release()
		return nil, err
	}
	return &view{version: uint64(version), conn: conn, busy: make(chan struct{}, 1)}, nil
}
