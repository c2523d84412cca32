package host

import (
	"context"
	"errors"
	"fmt"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// transfer copies all items of one backend to another, which is empty, with their expiries.
// most bounds their keys and values, in bytes. A durable backend that is ended in the middle
// of it is empty when it is opened again: until everything is there, it holds a mark.
func (h *Host) transfer(ctx context.Context, from, to *backend, most int64) (err error) {
	source := storage.New(from.Backend, storage.Settings{Clock: h.clock.Now, Borrowed: true})
	target := storage.New(to.Backend, storage.Settings{Clock: h.clock.Now, Borrowed: true})
	for _, err := range target.Range(ctx, nil, nil, storage.RangeOptions{PageItems: 1, KeysOnly: true}) {
		if err != nil {
			return fmt.Errorf("the new backend: %w", err)
		}
		return errors.New("the new backend is not empty")
	}
	marks := to.durable()
	if marks {
		if err := target.Set(ctx, wrappers.TransferMark, []byte(from.plugin.name)); err != nil {
			return fmt.Errorf("the new backend: %w", err)
		}
	}
	h.at("marked")
	defer func() {
		if err != nil && marks {
			err = errors.Join(err, empty(context.WithoutCancel(ctx), target))
		}
	}()
	w := target.NewBatchWriter(storage.BatchOptions{})
	var n, bytes int64
	for item, err := range source.Range(ctx, nil, nil, storage.RangeOptions{}) {
		if err != nil {
			return fmt.Errorf("the old backend: %w", err)
		}
		if bytes += int64(len(item.Key) + len(item.Value)); bytes > most {
			return storage.LimitError(storage.SizeLimit, "reload.transfer bytes", most, bytes)
		}
		if err := w.Add(ctx, storage.PutUntil(item.Key, item.Value, item.ExpiresAt)); err != nil {
			return fmt.Errorf("the new backend: %w", err)
		}
		if n++; n%transferStep == 0 {
			h.at("copying")
		}
	}
	if err := w.Close(ctx); err != nil {
		return fmt.Errorf("the new backend: %w", err)
	}
	h.at("copied")
	if marks {
		if err := target.Delete(ctx, wrappers.TransferMark); err != nil {
			return fmt.Errorf("the new backend: %w", err)
		}
	}
	h.at("unmarked")
	h.settings.Log.Info("the items of a store were transferred", "store", from.store, "from", from.plugin.name, "to", to.plugin.name, "items", n, "bytes", bytes)
	return nil
}

// transferStep is the number of items between two calls of a test's hook.
const transferStep = 1000

// unfinished empties a backend in which a transfer was ended in the middle.
func (h *Host) unfinished(ctx context.Context, b *backend) error {
	if b.shared || !b.durable() {
		return nil
	}
	s := storage.New(b.Backend, storage.Settings{Clock: h.clock.Now, Borrowed: true})
	from, err := s.Get(ctx, wrappers.TransferMark)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return nil
	case err != nil:
		return err
	}
	h.settings.Log.Warn("a transfer of items into the store was ended in the middle: what had arrived is removed", "store", b.store, "from", string(from))
	return empty(ctx, s)
}

// empty removes every item, the mark of a transfer last.
func empty(ctx context.Context, s *storage.Store) error {
	var batch []storage.Op
	most := max(min(s.Info().Limits.Ops, 1000), 1)
	flush := func() error {
		_, err := s.Apply(ctx, &storage.WriteSet{Ops: batch})
		batch = batch[:0]
		return err
	}
	for item, err := range s.Range(ctx, nil, nil, storage.RangeOptions{KeysOnly: true}) {
		if err != nil {
			return err
		}
		if string(item.Key) == string(wrappers.TransferMark) {
			continue
		}
		if batch = append(batch, storage.Delete(item.Key)); len(batch) == most {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if len(batch) > 0 {
		if err := flush(); err != nil {
			return err
		}
	}
	return s.Delete(ctx, wrappers.TransferMark)
}
