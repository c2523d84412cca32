package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/plinthkv/plinth/internal/durable"
	"github.com/plinthkv/plinth/storage"
)

// A page has at most maxItems items and maxBytes bytes. Where there is nothing live among the
// first rows, it looks at maxLooks of them.
const (
	pageItems = 1000
	pageBytes = 1 << 20
	maxItems  = 10_000
	maxBytes  = 8 << 20
	maxLooks  = 20_000
)

// Scan returns one page, all of one state, which is kept for those that follow it.
func (b *Backend) Scan(ctx context.Context, q storage.Query) (storage.Page, error) {
	if err := q.Validate(); err != nil {
		return storage.Page{}, err
	}
	if q.AtVersion != 0 {
		if page, err := b.scanKept(ctx, q); err != errNotKept {
			return page, err
		}
	}
	page, err := b.scanNow(ctx, q)
	switch {
	case err != nil:
		return storage.Page{}, err
	case q.AtVersion != 0 && q.AtVersion != page.Version:
		return storage.Page{}, conflictGone()
	case page.Next == nil:
		return page, nil
	}
	return b.keep(ctx, q, page)
}

func conflictGone() error {
	return storage.Errorf(storage.Conflict, "the version to scan is not kept (any more)")
}

// scanNow returns a page of the present.
func (b *Backend) scanNow(ctx context.Context, q storage.Query) (page storage.Page, err error) {
	err = b.reads(ctx, time.Duration(b.config.Timeouts.Scan), func(ctx context.Context, conn *conn) error {
		page, err = b.page(ctx, conn, q)
		return err
	})
	return page, err
}

func limit(asked, usual, most int) int {
	if asked == 0 {
		return usual
	}
	return min(asked, most)
}

// page reads a page in whatever transaction the connection is. Where what it looks at has
// expired, all of it, it looks further.
func (b *Backend) page(ctx context.Context, conn *conn, q storage.Query) (storage.Page, error) {
	items := limit(q.Limit, pageItems, maxItems)
	page, err := b.pageOf(ctx, conn, q, items, items+1)
	if err == nil && len(page.Items) == 0 && page.Next != nil && items < maxLooks {
		return b.pageOf(ctx, conn, q, items, maxLooks)
	}
	return page, err
}

// pageOf reads a page of at most so many items, from so many rows.
func (b *Backend) pageOf(ctx context.Context, conn *conn, q storage.Query, items, looks int) (storage.Page, error) {
	p := pager{q: &q, items: items, bytes: limit(q.MaxBytes, pageBytes, maxBytes), looks: looks}
	end := endOf(q.End)
	rows, err := conn.Query(ctx, b.sql.scan[scanKind(q.Reverse, q.KeysOnly)], filled(q.Start), end, b.now(), int64(looks), int64(p.bytes))
	if err != nil {
		return storage.Page{}, err
	}
	defer rows.Close()
	for rows.Next() {
		if err := p.take(rows); err != nil {
			return storage.Page{}, err
		}
	}
	if err := rows.Err(); err != nil {
		return storage.Page{}, err
	}
	if !p.full && (p.seen == looks || p.bytes < 0) { // there may be more behind
		p.page.Next = p.last
		if !q.Reverse {
			p.page.Next = storage.After(p.last)
		}
	}
	return p.page, nil
}

// pager fills a page from the rows of a scan.
type pager struct {
	q                   *storage.Query
	items, bytes, looks int // what is left; looks: of the statement
	seen                int // rows
	last                []byte
	full                bool
	page                storage.Page

	// The row that is read; here, so that rows do not allocate it.
	version int64
	row     struct {
		version, expires pgtype.Int8
		fits, live       pgtype.Bool
	}
}

// take puts a row onto the page, or ends the page before it.
func (p *pager) take(rows pgx.Rows) error {
	var it storage.Item
	if err := rows.Scan(&p.version, &it.Key, &it.Value, &p.row.version, &p.row.expires, &p.row.fits, &p.row.live); err != nil {
		return err
	}
	p.page.Version = uint64(p.version)
	if !p.row.version.Valid || p.full { // there is no row, or the page has ended
		return nil
	}
	p.seen++
	p.last = filled(it.Key)
	if !p.row.live.Bool {
		return nil
	}
	size := len(it.Key) + len(it.Value)
	if !p.row.fits.Bool || p.items == 0 || len(p.page.Items) > 0 && size > p.bytes {
		p.full = true
		p.page.Next = p.last
		if p.q.Reverse {
			p.page.Next = storage.After(p.last)
		}
		return nil
	}
	p.items--
	p.bytes -= size
	it.Key, it.Version, it.ExpiresAt = p.last, uint64(p.row.version.Int64), durable.Expiry(p.row.expires.Int64)
	if p.q.KeysOnly {
		it.Value = nil
	} else {
		it.Value = filled(it.Value)
	}
	p.page.Items = append(p.page.Items, it)
	return nil
}
