package wasmhost

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/internal/abi/answer"
	"github.com/plinthkv/plinth/internal/supervise"
	"github.com/plinthkv/plinth/storage"
)

// Get asks the guest, on the fast path where it has one and nobody else is
// there. It allocates the value and nothing else.
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
	message, err := b.send(ctx, r)
	if err != nil {
		return storage.Item{}, err
	}
	it, err := answer.ReadItem(message)
	if err != nil {
		return it, b.unreadable("get", err)
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
			err = in.garbage("plinth_get answered no item: %v", err)
		}
	}
	if err != nil {
		b.discard(s, err)
		return storage.Item{}, 0, b.error(lostInFlight(err, false))
	}
	it.Key, it.Value = nil, copied(it.Value)
	return it, 0, nil
}

// copied is a copy of view. The compiler makes one step of make and copy, on
// names alone, in which nothing is cleared first.
func copied(view []byte) []byte {
	b := make([]byte, len(view))
	copy(b, view)
	return b
}

// GetMany asks the guest. The items share one copy of the answer.
func (b *Backend) GetMany(ctx context.Context, keys [][]byte) ([]storage.Item, error) {
	limits := &b.info.Load().Limits
	if err := limits.CheckGetKeys(len(keys)); err != nil {
		return nil, b.error(err)
	}
	keys = limits.Possible(keys)
	r := b.frame(ctx, abi.OpGetMany)
	r.frame = abi.AppendGetMany(r.frame, keys)
	if n, most := len(r.frame), b.request(limits); n > most { // fewer keys may fit
		err := b.error(storage.LimitError(storage.RangeLimit, "request frame", int64(most), int64(n)))
		r.ends(err)
		r.free()
		return nil, err
	}
	message, err := b.send(ctx, r)
	if err != nil {
		return nil, err
	}
	items, err := answer.ReadItems(message, keys)
	if err != nil {
		return nil, b.unreadable("get_many", err)
	}
	return items, nil
}

// Scan asks the guest. The items share one copy of the answer.
func (b *Backend) Scan(ctx context.Context, q storage.Query) (storage.Page, error) {
	if err := q.Validate(); err != nil {
		return storage.Page{}, b.error(err)
	}
	cut := q.Cut(b.info.Load().Limits)
	r := b.frame(ctx, abi.OpScan)
	r.frame = abi.AppendQuery(r.frame, &cut)
	message, err := b.send(ctx, r)
	if err != nil {
		return storage.Page{}, err
	}
	page, err := answer.ReadPage(message, &cut)
	if err != nil {
		return page, b.unreadable("scan", err)
	}
	q.Resume(&page)
	return page, nil
}

// Apply asks the guest, after what can be checked here has been.
func (b *Backend) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	info := b.info.Load()
	if err := w.Validate(info); err != nil {
		return 0, b.error(err)
	}
	w = w.Cut(info.Limits)
	r := b.frame(ctx, abi.OpApply)
	r.frame = abi.AppendWriteSet(r.frame, w)
	message, err := b.send(ctx, r)
	if err != nil {
		return 0, answer.Refused(err, w)
	}
	version, err := abi.DecodeVersion(message)
	if err != nil {
		return 0, b.error(lostInFlight(b.unreadable("apply", err), true))
	}
	return version, nil
}

// Health says whether there is an instance, and, but for liveness, asks it. Its
// details tell of instances that were lost.
func (b *Backend) Health(ctx context.Context, p storage.Probe) (storage.Health, error) {
	if b.closed.Load() {
		return storage.Health{}, b.error(&storage.Error{Code: storage.ShuttingDown})
	}
	h := storage.Health{Status: storage.Healthy}
	usable := slices.ContainsFunc(b.slots, (*slot).usable)
	switch s := b.Status(); {
	case !usable && (s.State == supervise.Failed || p != storage.Liveness):
		h = storage.Health{Status: storage.Unhealthy, Reason: b.unavailable(b.slots[0]).Error()}
	case p != storage.Liveness:
		var err error
		soon, cancel := context.WithTimeout(ctx, busyAfter)
		h, err = b.askHealth(soon, p)
		late := ctx.Err() == nil && errors.Is(soon.Err(), context.DeadlineExceeded)
		cancel()
		switch {
		case err != nil && late && b.Status().State.Serves():
			// Others are served: a guest that hangs is noticed by the time that a call may take.
			h = storage.Health{Status: storage.Healthy, Details: map[string]string{"busy": "true"}}
		case err != nil:
			return storage.Health{}, err
		}
		wrong := ""
		if h.Status != storage.Healthy {
			wrong = cmp.Or(h.Reason, h.Status.String())
		}
		for _, s := range b.slots {
			s.life.Is(wrong)
		}
	}
	s := b.Status()
	return s.Describe(h), nil
}

// busyAfter is how long a guest that serves others may let a probe wait: it is well then,
// and does not say more.
const busyAfter = time.Second

func (b *Backend) askHealth(ctx context.Context, p storage.Probe) (h storage.Health, err error) {
	r := b.frame(ctx, abi.OpHealth)
	r.frame = abi.AppendProbe(r.frame, p)
	message, err := b.send(ctx, r)
	if err != nil {
		return h, err
	}
	if err := abi.DecodeHealth(message, &h); err != nil {
		return h, b.unreadable("health", err)
	}
	answer.Health(&h)
	return h, nil
}

// Close lets the calls in flight finish, has the guest flush, and releases the
// instances. It is idempotent. A ctx that ends first leaves it undone.
func (b *Backend) Close(ctx context.Context) error {
	var errs []error
	if again := b.closed.Swap(true); !again && b.meters != nil {
		errs = append(errs, b.meters.stop())
	}
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
