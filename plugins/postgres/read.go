package postgres

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/plinthkv/plinth/internal/durable"
	"github.com/plinthkv/plinth/storage"
)

// Get returns the live item at key: see [storage.Backend].
func (b *Backend) Get(ctx context.Context, key []byte) (it storage.Item, err error) {
	if len(key) > mostKey { // no item has it
		if b.gate.enter() {
			b.gate.leave()
			return it, storage.ErrNotFound
		}
		return it, errClosed()
	}
	err = b.reads(ctx, time.Duration(b.config.Timeouts.Read), func(ctx context.Context, conn *conn) error {
		var version, expires int64
		now := b.now() // not later than what is read: it may be renewed meanwhile
		err := conn.QueryRow(ctx, b.sql.get, filled(key)).Scan(&it.Value, &version, &expires)
		switch {
		case errors.Is(err, pgx.ErrNoRows), err == nil && expires != 0 && expires <= now:
			return storage.ErrNotFound
		case err != nil:
			return err
		}
		it.Version, it.ExpiresAt = uint64(version), durable.Expiry(expires)
		return nil
	})
	if err != nil {
		return storage.Item{}, err
	}
	return it, nil
}

// mostAnswer limits the bytes of keys and values that a call returns.
const mostAnswer = 64 << 20

// GetMany returns the live items among keys, all of one state.
func (b *Backend) GetMany(ctx context.Context, keys [][]byte) ([]storage.Item, error) {
	limits := b.info.Load().Limits
	if err := limits.CheckGetKeys(len(keys)); err != nil {
		return nil, err
	}
	asked := make([][]byte, 0, len(keys))
	for _, key := range limits.Possible(keys) {
		asked = append(asked, filled(key))
	}
	var found map[string]storage.Item
	err := b.reads(ctx, time.Duration(b.config.Timeouts.Scan), func(ctx context.Context, conn *conn) error {
		found = make(map[string]storage.Item, len(asked))
		return b.find(ctx, conn, asked, found)
	})
	if err != nil {
		return nil, err
	}
	return inOrder(keys, found)
}

// find reads the live items at keys.
func (b *Backend) find(ctx context.Context, conn *conn, keys [][]byte, found map[string]storage.Item) error {
	rows, err := conn.Query(ctx, b.sql.many, keys, b.now(), int64(mostAnswer))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var it storage.Item
		var version, expires int64
		if err := rows.Scan(&it.Key, &it.Value, &version, &expires); err != nil {
			return err
		}
		it.Version, it.ExpiresAt = uint64(version), durable.Expiry(expires)
		found[string(it.Key)] = it
	}
	return rows.Err()
}

// inOrder returns the items of the keys, as often as they were asked for.
func inOrder(keys [][]byte, found map[string]storage.Item) ([]storage.Item, error) {
	items := make([]storage.Item, 0, len(found))
	given := make(map[string]bool, len(found))
	left := mostAnswer
	for _, key := range keys {
		it, ok := found[string(key)]
		if !ok {
			continue
		}
		if left -= len(it.Key) + len(it.Value); left < 0 {
			return nil, storage.LimitError(storage.RangeLimit, "answer bytes", mostAnswer, int64(mostAnswer-left))
		}
		if given[string(key)] { // each is its caller's own
			it.Key, it.Value = bytes.Clone(it.Key), bytes.Clone(it.Value)
		}
		given[string(key)] = true
		items = append(items, it)
	}
	return items, nil
}
