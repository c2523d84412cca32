package wasmhost

import (
	"context"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/storage"
)

// Raw sends frames to the guest unchanged and returns a copy of its answer, which it does
// not check. It is for tests of plugins, which need requests that no caller can make the
// host send. A guest that ends is discarded, as in any call.
func (b *Backend) Raw(ctx context.Context, frames []byte) (answer []byte, err error) {
	if len(frames) > b.m.opts.MaxFrame {
		return nil, b.error(storage.LimitError(storage.SizeLimit, "request frame", int64(b.m.opts.MaxFrame), int64(len(frames))))
	}
	s := b.slots[0]
	if err := s.take(ctx); err != nil {
		return nil, err
	}
	defer s.release()
	if err := b.ready(s); err != nil {
		return nil, err
	}
	in := s.in
	if err = in.put(frames); err == nil {
		in.stack[0] = uint64(len(frames))
		in.ctx.begins()
		if err = in.guarded(in.call, 1, 1); err != nil {
			err = in.trapped(abi.ExportCall, 1, err)
		} else {
			answer, err = in.answer(abi.ExportCall, in.stack[0])
		}
	}
	if err != nil {
		b.discard(s, err)
		return nil, b.error(lostInFlight(err, false))
	}
	return copied(answer), nil
}

// Stated returns the limits of the guest's own Info, which the host may have lowered.
func (b *Backend) Stated() storage.Limits {
	s := b.slots[0]
	if s.take(context.Background()) != nil {
		return b.Info().Limits
	}
	defer s.release()
	if s.in == nil {
		return b.Info().Limits
	}
	return s.in.stated
}
