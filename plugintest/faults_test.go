package plugintest

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"slices"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

// Each fault is one that an author would make, and the checks that have to see it.
var faults = []struct {
	name   string
	caught []string
	plant  func(*planted)
}{
	{"flags are ignored", []string{"flags"}, func(p *planted) { p.flags = true }},
	{"nothing is read after unknown flags", []string{"flags"}, func(p *planted) {
		p.raw = func(frames []byte) ([]byte, error) {
			if len(frames) > 9 && frames[9] != 0 {
				return nil, storage.ErrUnsupported
			}
			return p.loop(frames)
		}
	}},
	{"a number of any length", []string{"headers"}, tags(func(n byte, v []byte) []byte {
		switch n {
		case abi.TagNow, abi.TagDeadline:
			return padded(v, 8)
		case abi.TagBudget:
			return padded(v, 4)
		}
		return v
	})},
	{"negative times are taken for large ones", []string{"headers"}, tags(func(n byte, v []byte) []byte {
		if n <= abi.TagDeadline && len(v) == 8 {
			v = slices.Clone(v)
			v[7] &= 0x7f
		}
		return v
	})},
	{"a tag that is cut is skipped", []string{"headers"}, tags(func(_ byte, v []byte) []byte { return v })},
	{"a deadline that overflows", []string{"headers"}, func(p *planted) {
		p.refuse = func(f abi.Frame) error {
			var h abi.Header
			if h.Decode(f.Header) == nil && h.Deadline > math.MaxInt64-1e15 {
				return storage.ErrTimeout
			}
			return nil
		}
	}},
	{"a budget of 0 is none at all", []string{"headers"}, func(p *planted) {
		p.refuse = func(f abi.Frame) error {
			if bytes.Contains(f.Header, []byte{abi.TagBudget, 4, 0, 0, 0, 0}) {
				return storage.ErrRangeLimit
			}
			return nil
		}
	}},
	{"the first of a repeated tag counts", []string{"headers"}, func(p *planted) {
		p.request = func(_ *abi.Frame, header *[]byte) {
			if at := bytes.Index(*header, []byte{abi.TagBudget, 4}); at >= 0 && at+6 <= len(*header) {
				*header = slices.Concat(*header, (*header)[at:at+6])
			}
		}
	}},
	{"a frame that is cut is read all the same", []string{"unreadable_frames"}, func(p *planted) {
		p.raw = func(frames []byte) ([]byte, error) {
			if len(frames) >= 12 {
				frames = slices.Clone(frames)
				if n := binary.LittleEndian.Uint32(frames); n < 8 || int(n) > len(frames)-4 {
					binary.LittleEndian.PutUint32(frames, uint32(len(frames)-4))
				}
			}
			return p.loop(frames)
		}
	}},
	{"a header beyond the frame is none", []string{"unreadable_frames"}, func(p *planted) {
		p.raw = func(frames []byte) ([]byte, error) {
			if len(frames) >= 12 && int(binary.LittleEndian.Uint16(frames[10:])) > len(frames)-12 {
				frames = slices.Clone(frames)
				frames[10], frames[11] = 0, 0
			}
			return p.loop(frames)
		}
	}},
	{"answers with a header", []string{"plain_answers"}, func(p *planted) {
		p.answer = func(_ abi.Frame, _ abi.Header, out []byte) []byte {
			out = slices.Insert(slices.Clone(out), 12, 200, 0)
			out[10] = 2
			binary.LittleEndian.PutUint32(out, uint32(len(out)-4))
			return out
		}
	}},
	{"answers with the number of the request", []string{"plain_answers"}, func(p *planted) {
		p.answer = func(_ abi.Frame, _ abi.Header, out []byte) []byte {
			binary.LittleEndian.PutUint32(out[4:], 0)
			return out
		}
	}},
	{"ids in 16 bits", []string{"plain_answers", "many_frames_in_a_call"}, func(p *planted) {
		p.answer = func(_ abi.Frame, _ abi.Header, out []byte) []byte {
			out[6], out[7] = 0, 0
			return out
		}
	}},
	{"a get in a frame with its key", []string{"get_in_a_frame", "unknown_fields_and_tags"}, func(p *planted) {
		p.answer = func(f abi.Frame, _ abi.Header, out []byte) []byte {
			if abi.Op(f.Kind) == abi.OpGet && out[8] == 0 {
				out = slices.Insert(slices.Clone(out), 12, field(1, known)...)
				binary.LittleEndian.PutUint32(out, uint32(len(out)-4))
			}
			return out
		}
	}},
	{"a get in a frame without an empty value", []string{"get_in_a_frame"}, func(p *planted) {
		p.answer = func(_ abi.Frame, _ abi.Header, out []byte) []byte {
			if bytes.HasPrefix(out[12:], []byte{0x12, 0}) {
				out = slices.Delete(slices.Clone(out), 12, 14)
				binary.LittleEndian.PutUint32(out, uint32(len(out)-4))
			}
			return out
		}
	}},
	{"an Error in the place of an item", []string{"unknown_fields_and_tags"}, func(p *planted) {
		p.answer = func(f abi.Frame, h abi.Header, out []byte) []byte {
			if bytes.Contains(f.Message, []byte{0xfd, 0x3f}) {
				out = sdk.AppendError(nil, f.ID, &storage.Error{Code: storage.Serialization, Op: string(knownValue)})
			}
			return out
		}
	}},
	{"kinds in 8 bits", []string{"kinds_above_255"}, func(p *planted) {
		p.request = func(f *abi.Frame, _ *[]byte) {
			for kind := range byte(4) { // 08 81 02 is 257
				f.Message = bytes.ReplaceAll(f.Message, []byte{0x08, 0x80 | kind, 2}, []byte{0x88, 0, kind})
			}
		}
	}},
	{"a negative expiry is a past one", []string{"negative_times_and_lengths_of_ids"}, rewritten(abi.OpApply, func(m []byte) []byte {
		return bytes.ReplaceAll(m, slices.Concat([]byte{0x28}, bytes.Repeat([]byte{0xff}, 9), []byte{1}), slices.Concat([]byte{0x28, 0x81}, bytes.Repeat([]byte{0x80}, 8), []byte{0}))
	})},
	{"a negative expiry is never", []string{"negative_times_and_lengths_of_ids"}, rewritten(abi.OpApply, func(m []byte) []byte {
		for i := range m {
			if bytes.HasSuffix(m[:i+1], []byte{0xff, 0xff, 0xff, 0x01}) || bytes.HasSuffix(m[:i+1], []byte{0x80, 0x80, 0x80, 0x01}) {
				m[i] = 0
			}
		}
		return m
	})},
	{"an id of any length", []string{"negative_times_and_lengths_of_ids"}, rewritten(abi.OpApply, func(m []byte) []byte {
		if len(m) > 2 && m[0] == 0x0a && int(m[1])+2 <= len(m) {
			n := int(m[1])
			m = slices.Concat([]byte{0x0a, 16}, padded(slices.Clone(m[2:2+n]), 16), m[2+n:])
		}
		return m
	})},
	{"a put with an end", []string{"fields_without_a_meaning"}, writes(func(w *storage.WriteSet) {
		for i := range w.Ops {
			if w.Ops[i].Kind == storage.OpPut {
				w.Ops[i].End = nil
			}
		}
	})},
	{"an empty end is none", []string{"fields_without_a_meaning"}, writes(func(w *storage.WriteSet) {
		for i := range w.Ops {
			if w.Ops[i].Kind != storage.OpDeleteRange && len(w.Ops[i].End) == 0 {
				w.Ops[i].End = nil
			}
		}
	})},
	{"a delete with an expiry", []string{"fields_without_a_meaning"}, writes(func(w *storage.WriteSet) {
		for i := range w.Ops {
			if w.Ops[i].Kind != storage.OpPut {
				w.Ops[i].ExpiresAt = storage.Op{}.ExpiresAt
			}
		}
	})},
	{"a delete with a value", []string{"fields_without_a_meaning"}, writes(func(w *storage.WriteSet) {
		for i := range w.Ops {
			if w.Ops[i].Kind == storage.OpDelete {
				w.Ops[i].Value = nil
			}
		}
	})},
	{"a delete range with a value", []string{"fields_without_a_meaning"}, writes(func(w *storage.WriteSet) {
		for i := range w.Ops {
			if w.Ops[i].Kind == storage.OpDeleteRange {
				w.Ops[i].Value = nil
			}
		}
	})},
	{"a check of version 0 holds for what is absent", []string{"fields_without_a_meaning"}, writes(func(w *storage.WriteSet) {
		for i := range w.Checks {
			if w.Checks[i].Kind == storage.CheckVersion && w.Checks[i].Version == 0 {
				w.Checks[i].Kind = storage.CheckAbsent
			}
		}
	})},
	{"a check with a field that it does not use is refused", []string{"forms_of_messages"}, refusedBefore(func(w *storage.WriteSet, _ storage.Info) error {
		for _, c := range w.Checks {
			if c.Kind != storage.CheckRange && c.End != nil {
				return storage.Errorf(storage.InvalidArgument, "a check with an end")
			}
		}
		return nil
	})},
	{"ops before checks are lost", []string{"forms_of_messages"}, rewritten(abi.OpApply, func(m []byte) []byte {
		if len(m) > 2 && m[0] == 0x1a && int(m[1])+2 < len(m) && m[2+int(m[1])] == 0x12 {
			return nil
		}
		return m
	})},
	{"an end that is present and empty is none", []string{"forms_of_messages"}, rewritten(abi.OpScan, func(m []byte) []byte {
		if bytes.Equal(m, []byte{0x12, 0}) {
			return nil
		}
		return m
	})},
	{"the first of a repeated field counts", []string{"forms_of_messages"}, rewritten(abi.OpGet, func(m []byte) []byte {
		if len(m) > 2 && int(m[1])+2 < len(m) && m[0] == 0x0a && m[int(m[1])+2] == 0x0a {
			return m[:int(m[1])+2]
		}
		return m
	})},
	{"no limit is checked", []string{"limits_are_kept"}, unlimited(func(l *storage.Limits) { *l = storage.Limits{} })},
	{"keys of any length", []string{"limits_are_kept"}, unlimited(func(l *storage.Limits) { l.Key = 0 })},
	{"values of any length", []string{"limits_are_kept"}, unlimited(func(l *storage.Limits) { l.Value = 0 })},
	{"checks do not count as ops", []string{"limits_are_kept"}, unlimited(func(l *storage.Limits) { l.Ops++ })},
	{"write sets of any size", []string{"limits_are_kept"}, unlimited(func(l *storage.Limits) { l.WriteBytes = 0 })},
	{"any number of keys", []string{"limits_are_kept"}, unlimited(func(l *storage.Limits) { l.GetKeys = 0 })},
	{"bounds have the limit of keys", []string{"exempt_from_limits"}, func(p *planted) {
		p.refuse = func(f abi.Frame) error {
			var q storage.Query
			if abi.Op(f.Kind) == abi.OpScan && abi.DecodeQuery(f.Message, &q) == nil && len(q.Start) > p.Info().Limits.Key {
				return storage.ErrSizeLimit
			}
			return nil
		}
	}},
	{"values that are compared have the limit of values", []string{"exempt_from_limits"}, refusedBefore(func(w *storage.WriteSet, info storage.Info) error {
		for _, c := range w.Checks {
			if len(c.Value) > info.Limits.Value {
				return storage.ErrSizeLimit
			}
		}
		return nil
	})},
	{"invalid before too large", []string{"first_refusal"}, refusedBefore(func(w *storage.WriteSet, _ storage.Info) error {
		return w.Validate(&storage.Info{Caps: ^storage.Caps(0)})
	})},
	{"unsupported before invalid", []string{"first_refusal"}, refusedBefore(func(w *storage.WriteSet, info storage.Info) error {
		if w.ID != [16]byte{} && !info.Caps.Has(storage.CapIdempotent) {
			return storage.ErrUnsupported
		}
		return nil
	})},
	{"the state before everything else", []string{"first_refusal"}, func(p *planted) {
		p.refuse = func(f abi.Frame) error {
			var w storage.WriteSet
			if abi.Op(f.Kind) == abi.OpApply && abi.DecodeWriteSet(f.Message, &w) == nil && len(w.Checks) > 0 && w.Checks[0].Kind == storage.CheckAbsent {
				if _, err := p.Backend.Get(context.Background(), w.Checks[0].Key); err == nil {
					return storage.ConflictAt(0)
				}
			}
			return nil
		}
	}},
	{"what is not claimed is done", []string{"unclaimed_is_refused"}, func(p *planted) {
		info := p.Info()
		info.Caps |= storage.CapReverse | storage.CapSnapshotScan | storage.CapIdempotent
		p.a = sdk.NewAnswerer(storagetest.NewModel(storagetest.NewClock().Now, info))
	}},
	{"a budget for each answer of a call", []string{"budget_of_a_call"}, func(p *planted) {
		p.budget = func(h abi.Header, _ int) int {
			if h.Budget > 0 {
				return int(h.Budget)
			}
			return abi.DefaultMaxFrame
		}
	}},
	{"what others left is too little for ever", []string{"budget_of_a_call"}, func(p *planted) {
		p.raw = func(frames []byte) (out []byte, err error) { // RANGE_LIMIT in the place of "later"
			var h abi.Header
			for rest := frames; len(rest) > 0; {
				f, after, err := abi.ReadFrame(rest, 0)
				if err != nil {
					return p.loop(frames)
				}
				if unread := h.Decode(f.Header); h.Budget == 0 || unread != nil {
					return p.loop(frames)
				}
				out, rest = p.a.AnswerRead(out, f, &h, nil, int(h.Budget)-len(out)), after
			}
			return out, nil
		}
	}},
	{"an apply runs without room for its answer", []string{"budget_of_a_call"}, func(p *planted) { p.behind = true }},
	{"the first apply is refused for its budget", []string{"budget_of_an_apply"}, func(p *planted) {
		p.refuse = func(f abi.Frame) error {
			var h abi.Header
			if h.Decode(f.Header) == nil && h.Budget > 0 && h.Budget < 23 && abi.Op(f.Kind) == abi.OpApply {
				return storage.ErrRangeLimit
			}
			return nil
		}
	}},
	{"scans beyond their budget", []string{"budget_of_a_scan"}, func(p *planted) {
		p.budget = func(h abi.Header, _ int) int { return 1 << 20 }
	}},
	{"the wrapping of a page does not count", []string{"budget_of_a_scan"}, func(p *planted) {
		p.budget = func(h abi.Header, _ int) int { return int(h.Budget) * 23 / 10 }
	}},
	{"a page that does not fit is refused", []string{"budget_of_a_scan"}, func(p *planted) {
		p.refuse = func(f abi.Frame) error {
			var h abi.Header
			var q storage.Query
			if abi.Op(f.Kind) == abi.OpScan && h.Decode(f.Header) == nil && abi.DecodeQuery(f.Message, &q) == nil && q.MaxBytes > int(h.Budget) {
				return storage.ErrRangeLimit
			}
			return nil
		}
	}},
	{"an end that fails", []string{"unknown_op"}, func(p *planted) {
		p.close = func(context.Context) error { return storage.ErrInternal }
	}},
}
