//go:build unix

package procs

import (
	"context"
	"errors"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/internal/abi/frames"
	"github.com/plinthkv/plinth/storage"
)

// Raw sends requests as they are, but for their ids, and returns frames with the ids
// that they had: for tests of plugins, to which it can say what no caller makes the
// host say.
func (b *Backend) Raw(ctx context.Context, requests []byte) (answers []byte, err error) {
	for len(requests) > 0 {
		f, rest, err := abi.ReadFrame(requests, b.p.opts.MaxFrame)
		if err != nil && !errors.Is(err, storage.ErrUnsupported) { // flags are the plugin's to refuse
			return nil, err
		}
		c := call{op: abi.Op(f.Kind), frame: frames.Begin(0, nil)}
		_ = c.frame.Header.Decode(f.Header) // for gRPC, as far as it can be read
		c.frame.Frame = append(c.frame.Frame[:0], requests[:len(requests)-len(rest)]...)
		r, err := b.reach(ctx, nil)
		if err != nil {
			c.frame.Free()
			return nil, err
		}
		message, _, answered, err := r.transport.ask(ctx, c.op, c.frame)
		c.frame.Free()
		if err != nil && !answered {
			return nil, b.error(err)
		}
		start := len(answers)
		answers = abi.BeginFrame(answers, f.ID, uint8(storage.CodeOf(err)), nil)
		if err != nil {
			message = abi.AppendError(nil, storage.AsError(err))
		}
		if answers, err = abi.EndFrame(append(answers, message...), start); err != nil {
			return nil, err
		}
		requests = rest
	}
	return answers, nil
}

// Stated returns the limits of the plugin's own Info, which the host may have lowered.
func (b *Backend) Stated() storage.Limits {
	if r := b.run.Load(); r != nil {
		return r.stated
	}
	return b.Info().Limits
}
