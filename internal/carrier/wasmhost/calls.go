package wasmhost

import (
	"context"
	"errors"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/internal/abi/answer"
	"github.com/plinthkv/plinth/internal/carrier"
	"github.com/plinthkv/plinth/storage"
)

// Get calls the guest, on the fast path if the slot is free and the guest has such a path.
// It allocates the value and nothing else.
func (b *Backend) Get(ctx context.Context, key []byte) (storage.Item, error) {
	if b.info.Load().Limits.TooLong(key) { // and so absent, at whatever length
		return storage.Item{}, storage.ErrNotFound
	}
	// A traced get goes the other way: this one has no room for its trace context.
	if b.m.hasGet && ctx.Err() == nil && !b.m.traced(ctx) && b.slots[0].usable() {
		if s, held := b.slot(); held {
			it, code, err := b.fastGet(s, key)
			if code != abi.CodeUseCall {
				return it, err
			}
		}
	}
	r := b.frame(ctx, abi.OpGet)
	r.frame = abi.AppendGet(r.frame, key)
	message, err := b.send(ctx, abi.OpGet, r)
	if err != nil {
		return storage.Item{}, err
	}
	it, err := answer.ReadItem(message)
	if err != nil {
		return it, b.error(carrier.Unreadable(abi.OpGet, err))
	}
	return it, nil
}

// fastGet runs plinth_get in the slot that is held, and releases it.
func (b *Backend) fastGet(s *slot, key []byte) (it storage.Item, code uint8, err error) {
	defer s.release()
	if err := b.ready(s); err != nil {
		return it, 0, err
	}
	in := s.in
	view, err := in.room(len(key))
	if err == nil {
		copy(view, key)
		in.stack[0], in.stack[1] = uint64(len(key)), uint64(b.time.Millis())
		in.ctx.begins()
		if err = in.guarded(in.get, 2, 1); err != nil {
			err = in.trapped("plinth_get", 1, err)
		}
	}
	if s.counts != nil {
		s.called(1, false)
	}
	if err == nil {
		if ptr, n, isErr := abi.UnpackResult(in.stack[0]); isErr && ptr == 0 {
			if n == uint32(storage.NotFound) {
				return it, 0, storage.ErrNotFound
			}
			return it, abi.CodeUseCall, nil
		}
		view, err = in.answer("plinth_get", in.stack[0])
	}
	if err == nil {
		if err = abi.DecodeItem(view, &it); err != nil {
			err = in.garbage("plinth_get returned no item: %v", err)
		}
	}
	if err != nil {
		b.discard(s, err)
		return storage.Item{}, 0, b.error(lostInFlight(err, false))
	}
	it.Key, it.Value = nil, copied(it.Value)
	return it, 0, nil
}

// Ask sends a message into the guest.
func (b *Backend) Ask(ctx context.Context, op abi.Op, m carrier.Message) ([]byte, error) {
	r := b.frame(ctx, op)
	r.frame = m.Append(r.frame, op)
	return b.send(ctx, op, r)
}

// copied returns a copy of view. The compiler makes one step of make and copy, on
// names alone, in which nothing is cleared first.
func copied(view []byte) []byte {
	b := make([]byte, len(view))
	copy(b, view)
	return b
}

// Close lets the calls in flight finish, has the guest flush, and releases the
// instances. It is idempotent. A ctx that ends first leaves it undone.
func (b *Backend) Close(ctx context.Context) error {
	var errs []error
	if again := b.closed.Swap(true); !again && b.meters != nil {
		errs = append(errs, b.meters.stop())
	}
	b.Followers.Changed() // they find it closed
	for _, s := range b.slots {
		if err := s.take(ctx); err != nil {
			errs = append(errs, err)
			continue
		}
		if s.in != nil {
			if err := s.in.shut(); err != nil {
				errs = append(errs, b.error(err))
			}
			s.in = nil
		}
		s.life.Stop()
		s.release()
	}
	return errors.Join(errs...)
}
