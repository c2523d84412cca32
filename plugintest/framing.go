package plugintest

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/storage"
)

// reply is the answer to one request.
type reply struct {
	code    storage.Code
	message []byte
	size    int // of its frame, in bytes
}

// exchange sends requests, those that the plugin leaves again, and returns an answer to
// each. Answers of one call that are longer than budget together are an error, unless
// the only one is an error or of an apply; a budget of 0 means none.
func (g *guest) exchange(budget int, requests ...[]byte) (replies []reply, err error) {
	for len(replies) < len(requests) {
		before := len(replies)
		answer, err := g.b.Raw(g.ctx, slices.Concat(requests[before:]...))
		if err != nil {
			return nil, err
		}
		if replies, err = read(answer, requests, replies); err != nil {
			return nil, err
		}
		first := replies[before]
		exempt := len(replies)-before == 1 && (first.code != storage.OK || abi.Op(requests[before][8]) == abi.OpApply)
		if budget > 0 && len(answer) > budget && !exempt {
			return nil, fmt.Errorf("%d answers of one call have %d bytes, over the budget of %d", len(replies)-before, len(answer), budget)
		}
	}
	return replies, nil
}

// read appends the answers of one call to replies, which are those to the first requests.
func read(answer []byte, requests [][]byte, replies []reply) ([]reply, error) {
	if len(answer) == 0 {
		return nil, fmt.Errorf("no answer to %d requests", len(requests)-len(replies))
	}
	for len(answer) > 0 {
		n := len(replies)
		if n == len(requests) {
			return nil, fmt.Errorf("%d bytes follow the answer to the last request", len(answer))
		}
		f, rest, err := abi.ReadFrame(answer, 0)
		id := binary.LittleEndian.Uint32(requests[n][4:])
		switch {
		case err != nil:
			return nil, fmt.Errorf("answer %d of %d is no frame: %w (its first bytes: % x)", n+1, len(requests), err, answer[:min(len(answer), 16)])
		case f.ID != id:
			return nil, fmt.Errorf("answer %d of %d has the id %d, want %d", n+1, len(requests), f.ID, id)
		case len(f.Header) > 0:
			return nil, fmt.Errorf("answer %d of %d has a header of %d bytes, want none", n+1, len(requests), len(f.Header))
		}
		replies = append(replies, reply{storage.Code(f.Kind), f.Message, len(answer) - len(rest)})
		answer = rest
	}
	return replies, nil
}

// tag returns a tag of a header.
func tag(number byte, value []byte) []byte { return append([]byte{number, byte(len(value))}, value...) }

// word returns v in 8 bytes, as in a header.
func word(v int64) []byte { return binary.LittleEndian.AppendUint64(nil, uint64(v)) }

// now returns the tag of the clock's time.
func (g *guest) now() []byte { return tag(abi.TagNow, word(g.clock().UnixMilli())) }

func budgetTag(n uint32) []byte { return tag(abi.TagBudget, binary.LittleEndian.AppendUint32(nil, n)) }

// headed returns a request with any header, and with flags.
func headed(id uint32, op abi.Op, flags byte, header, message []byte) []byte {
	b := abi.BeginFrame(nil, id, uint8(op), nil)
	b[9] = flags
	binary.LittleEndian.PutUint16(b[10:], uint16(len(header)))
	b, err := abi.EndFrame(slices.Concat(b, header, message), 0)
	if err != nil {
		panic(err) // of 4 GiB
	}
	return b
}

// answers sends the plainest requests: that a plugin's answers to these cannot be read
// is reported once.
func answers(g *guest) error {
	for _, id := range []uint32{0, 7, math.MaxUint32} {
		for _, op := range []abi.Op{abi.OpGet, abi.OpGetMany, abi.OpScan, abi.OpHealth} {
			message := requests()[op]
			if op == abi.OpScan {
				message = abi.AppendQuery(nil, &storage.Query{})
			}
			replies, err := g.exchange(0, g.frame(id, op, message))
			if err == nil {
				err = readable(op, replies[0])
			}
			if err != nil {
				return fmt.Errorf("%s, id %d: %w", op, id, err)
			}
		}
	}
	return nil
}

// readable reports whether an answer is the message of its op, or an Error.
func readable(op abi.Op, r reply) error {
	if r.code != storage.OK {
		if !r.code.Known() {
			return fmt.Errorf("the answer has the code %d, which is not defined", uint8(r.code))
		}
		if len(r.message) == 0 {
			return nil
		}
		if e := abi.DecodeError(r.message); e.Code == storage.Internal && r.code != storage.Internal {
			return fmt.Errorf("the answer has the code %s and an Error that says otherwise: %w", r.code.Name(), e)
		}
		return nil
	}
	var err error
	switch op {
	case abi.OpGet:
		var it storage.Item
		err = abi.DecodeItem(r.message, &it)
	case abi.OpGetMany:
		_, err = abi.DecodeItems(r.message, nil)
	case abi.OpScan:
		var page storage.Page
		err = abi.DecodePage(r.message, &page)
	case abi.OpApply:
		_, err = abi.DecodeVersion(r.message)
	case abi.OpHealth:
		var h storage.Health
		err = abi.DecodeHealth(r.message, &h)
	}
	if err != nil {
		return fmt.Errorf("the answer cannot be read: %w (its first bytes: % x)", err, r.message[:min(len(r.message), 16)])
	}
	return nil
}

// noFrames returns the result for a plugin that is called over gRPC.
func noFrames() error {
	return fmt.Errorf("%w: the plugin is called over gRPC, without frames", errNotApplicable)
}

// flags are 0 in this version. Others are refused, and the next frame is read.
func unknownFlags(g *guest) error {
	if g.plain {
		return noFrames()
	}
	get := abi.AppendGet(nil, known)
	for _, flags := range []byte{1, 0x80, 0xff} {
		replies, err := g.exchange(0, headed(7, abi.OpGet, flags, g.now(), get), g.frame(8, abi.OpHealth, abi.AppendProbe(nil, storage.Readiness)))
		switch {
		case err != nil:
			return fmt.Errorf("a get with the flags %#02x: %w", flags, err)
		case replies[0].code != storage.Unsupported:
			return fmt.Errorf("a get with the flags %#02x is answered with %s, want %s", flags, replies[0].code.Name(), storage.Unsupported.Name())
		case replies[1].code != storage.OK:
			return fmt.Errorf("a request after one with the flags %#02x is answered with %s", flags, replies[1].code.Name())
		}
	}
	return nil
}

// headers tries headers of every right form, and of some wrong ones.
func headers(g *guest) error {
	if g.plain {
		return noFrames()
	}
	at := g.clock().UnixMilli()
	want := storage.OK
	if !g.filled {
		want = storage.NotFound
	}
	refused := []storage.Code{storage.InvalidArgument, storage.Serialization}
	for _, c := range []struct {
		what   string
		header []byte
		want   []storage.Code
	}{
		{"a tag without its length", append(g.now(), abi.TagBudget), refused},
		{"a tag that is cut", append(g.now(), abi.TagBudget, 4, 0, 0), refused},
		{"an unknown tag that is cut", append(g.now(), 200, 255, 0), refused},
		{"a now of 4 bytes", tag(abi.TagNow, word(at)[:4]), refused},
		{"a now of 9 bytes", tag(abi.TagNow, append(word(at), 0)), refused},
		{"an empty now", tag(abi.TagNow, nil), refused},
		{"a negative now", tag(abi.TagNow, word(-1)), refused},
		{"a deadline of 4 bytes", append(g.now(), tag(abi.TagDeadline, word(1000)[:4])...), refused},
		{"a negative deadline", append(g.now(), tag(abi.TagDeadline, word(math.MinInt64))...), refused},
		{"a budget of 8 bytes", append(g.now(), tag(abi.TagBudget, word(1<<20))...), refused},
		{"a budget of 2 bytes", append(g.now(), tag(abi.TagBudget, []byte{255, 255})...), refused},
		{"the longest deadline", append(g.now(), tag(abi.TagDeadline, word(math.MaxInt64))...), []storage.Code{want}},
		{"a budget of 0", append(g.now(), budgetTag(0)...), []storage.Code{want}},
		{"the largest budget", append(g.now(), budgetTag(math.MaxUint32)...), []storage.Code{want}},
		{"tags in another order, one of them unknown", slices.Concat(budgetTag(1<<16), tag(200, []byte("hi")), g.now()), []storage.Code{want}},
		{"a repeated budget, of which the last counts", slices.Concat(g.now(), budgetTag(13), budgetTag(1<<16)), []storage.Code{want}},
		{"a trace", slices.Concat(g.now(), tag(abi.TagTraceparent, []byte("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")),
			tag(abi.TagTracestate, []byte(strings.Repeat("a=b,", 63)+"a=b"))), []storage.Code{want}},
	} {
		replies, err := g.exchange(0, headed(7, abi.OpGet, 0, c.header, abi.AppendGet(nil, known)))
		if err != nil {
			return fmt.Errorf("a get with %s in its header: %w", c.what, err)
		}
		if !slices.Contains(c.want, replies[0].code) {
			return fmt.Errorf("a get with %s in its header is answered with %s, want %s", c.what, replies[0].code.Name(), c.want[0].Name())
		}
	}
	return nil
}

// unreadable sends frames after which the next one cannot be found. They end the instance,
// with a result that has the error bit. Each gets one of its own.
func unreadable(g *guest) error {
	if !g.module {
		return fmt.Errorf("%w: a process closes its data socket", errNotApplicable)
	}
	whole := g.frame(7, abi.OpGet, abi.AppendGet(nil, known))
	length := func(n uint32) []byte {
		b := slices.Clone(whole)
		binary.LittleEndian.PutUint32(b, n)
		return b
	}
	header := slices.Clone(whole)
	binary.LittleEndian.PutUint16(header[10:], uint16(len(whole)))
	for _, c := range []struct {
		what  string
		frame []byte
	}{
		{"a length below 8", length(7)},
		{"a length of 0", length(0)},
		{"a length beyond its bytes", length(uint32(len(whole)))},
		{"a length beyond max_frame", length(math.MaxUint32)},
		{"a header longer than itself", header},
		{"bytes missing at its end", whole[:len(whole)-1]},
		{"fewer bytes than a head", whole[:11]},
		{"half of its length", whole[:2]},
	} {
		err := g.again(func(b raw) error {
			answer, err := b.Raw(g.ctx, c.frame)
			switch {
			case err == nil:
				return fmt.Errorf("a frame with %s is answered (% x), want a result with the error bit", c.what, answer[:min(len(answer), 16)])
			case strings.Contains(err.Error(), abi.ExportCall+": "):
				return fmt.Errorf("a frame with %s ends the module, want a result with the error bit: %w", c.what, err)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
