package wasmhost_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/plinthkv/plinth/internal/carrier/wasmhost"
	"github.com/plinthkv/plinth/internal/supervise"
	"github.com/plinthkv/plinth/storage"
)

// The hostile guest is the kv guest, which misbehaves where a key or its configuration
// says so: testdata/guests/hostile.c has every act. Whatever it does costs its own
// instance, at most: the caller and all later ones get an error that says what
// happened, and everything else in the same host goes on.

const (
	budget   = 250 * time.Millisecond
	tooLong  = "exceeded limits.call (250ms) and was interrupted"
	broke    = "the plugin broke the ABI: "
	outside  = " returned bytes outside of its memory"
	hostiles = "plugin hostile: "
)

var hostileOptions = wasmhost.Options{Name: "hostile", Call: budget, Memory: 8 << 20, MaxFrame: 2 << 20, Restart: supervise.Policy{Budget: -1, Wait: -1}, Log: slog.New(slog.DiscardHandler)}

// inGet are acts of plinth_get, inCall of plinth_call, and what is said of them; if
// nothing, the call succeeds as usual.
var inGet = map[string]string{
	"trap":          "plinth_get: wasm error: unreachable",
	"twice":         "plinth_get: " + tooLong,
	"loop":          "plinth_get: " + tooLong,
	"exit0":         "plinth_get: the guest exited with code 0",
	"eat":           "",
	"error":         "I cannot go on",
	"error_beyond":  broke + "plinth_get" + outside,
	"error_garbage": "the answer's error could not be read: error: the field at 0 is cut",
	"oversize":      broke + "plinth_get returned 2097153 bytes, max_frame is 2097152",
	"two_gib":       broke + "plinth_get returned 2147483647 bytes, max_frame is 2097152",
	"past_end":      broke + "plinth_get" + outside,
	"wraps":         broke + "plinth_get" + outside,
	"no_item":       broke + "plinth_get returned no item: item: the field at 0 is cut",
	"bare_other":    "", // the host asks again through plinth_call
	"flood":         "",
	"vectors":       "",
}

var inCall = map[string]string{
	"trap":          "plinth_call: wasm error: unreachable",
	"divide":        "plinth_call: wasm error: integer divide by zero",
	"beyond":        "plinth_call: wasm error: out of bounds memory access",
	"null_call":     "plinth_call: wasm error: invalid table access",
	"recurse":       "plinth_call: wasm error: out of bounds memory access", // its own stack, which lies first
	"twice":         "plinth_call: " + tooLong,
	"loop":          "plinth_call: " + tooLong,
	"loop_log":      "plinth_call: " + tooLong,
	"slumber":       "plinth_call: " + tooLong,
	"exit0":         "plinth_call: the guest exited with code 0",
	"exit7":         "plinth_call: the guest exited with code 7",
	"nothing":       broke + "no answer",
	"cut":           broke + "answer 0 is unreadable: unexpected EOF",
	"head":          broke + "answer 0 is unreadable: unexpected EOF",
	"four_gib":      broke + "answer 0 is unreadable: size limit exceeded: frame is 4294967299, limit is 2097152",
	"no_length":     broke + "answer 0 is unreadable: frame: a length of 3 is shorter than a frame's head",
	"flags":         broke + "answer 0 is unreadable: frame: unknown flags 0x01",
	"other_id":      broke + "answer 0 has the id 1",
	"error":         "I cannot go on",
	"bare_error":    "plinth_call returned the bare code 18",
	"error_beyond":  broke + "plinth_call" + outside,
	"error_garbage": "the answer's error could not be read: error: the field at 0 is cut",
	"oversize":      broke + "plinth_call returned 2097153 bytes, max_frame is 2097152",
	"two_gib":       broke + "plinth_call returned 2147483647 bytes, max_frame is 2097152",
	"past_end":      broke + "plinth_call" + outside,
	"wraps":         broke + "plinth_call" + outside,
	"eat":           "",
	"last":          "",
	"moved":         "", // the view that was read before the call lies elsewhere now
	"one":           "",
	"flood":         "",
	"flood_lines":   "",
	"vectors":       "",
	"log_beyond":    "",
	"log_long":      "",
	"random_beyond": "",
	"poll_wraps":    "",
}

// hostile opens the hostile guest and two neighbours, one in the same module and
// one in another of the same host, which must notice nothing.
func hostile(t *testing.T, config string, o wasmhost.Options) (b *wasmhost.Backend, neighbours func()) {
	t.Helper()
	r := warmRuntime(t)
	m := load(t, r, committed(t, "hostile"), o)
	same := openModule(t, m, "")
	other := openModule(t, load(t, r, committed(t, "kv"), wasmhost.Options{Name: "kv"}), "")
	for _, n := range []*wasmhost.Backend{same, other} {
		apply(t, n, storage.Put([]byte("key"), []byte("value")))
	}
	return openModule(t, m, config), func() {
		t.Helper()
		for _, n := range []*wasmhost.Backend{same, other} {
			expectValue(t, n, "key", "value")
			apply(t, n, storage.Put([]byte("more"), []byte("value")))
			if h, err := n.Health(context.Background(), storage.Readiness); err != nil || h.Status != storage.Healthy {
				t.Errorf("a neighbour's health: %+v, %v", h, err)
			}
		}
	}
}

// lost checks that err is the error of a read or a write that was with the guest, that
// b is never asked again, and that it says why.
func lost(t *testing.T, b *wasmhost.Backend, err error, code storage.Code, reason string) {
	t.Helper()
	e := storage.AsError(err)
	if storage.CodeOf(err) != code || e.Unknown != (code == storage.OutcomeUnknown) || err.Error() != hostiles+reason {
		t.Errorf("the call that broke it: %v, %q\nwant %v, %q", storage.CodeOf(err), err, code, hostiles+reason)
	}
	why := hostiles + "the plugin has failed and its state is lost: " + reason
	ctx := context.Background()
	_, getErr := b.Get(ctx, []byte("k"))
	_, manyErr := b.GetMany(ctx, [][]byte{[]byte("k")})
	_, applyErr := b.Apply(ctx, &storage.WriteSet{Ops: []storage.Op{storage.Delete([]byte("k"))}})
	for _, err := range []error{getErr, manyErr, applyErr} {
		if e := storage.AsError(err); !errors.Is(err, storage.ErrUnavailable) || e.Unknown || e.Error() != why {
			t.Errorf("afterwards: %v, want %q, and nothing done", err, why)
		}
	}
	for _, p := range []storage.Probe{storage.Liveness, storage.Readiness, storage.Startup} {
		h, err := b.Health(ctx, p)
		if err != nil || h.Status != storage.Unhealthy || h.Reason != "its state is lost: "+reason || h.Details["last_loss"] != reason {
			t.Errorf("%v: %+v, %v, want %q", p, h, err, why)
		}
	}
	if info := b.Info(); info.Name != "kv" {
		t.Errorf("it has forgotten what it is: %+v", info)
	}
	if err := b.Close(ctx); err != nil {
		t.Errorf("closing it: %v", err)
	}
}

func TestHostileGet(t *testing.T) {
	for act, reason := range inGet {
		t.Run(act, func(t *testing.T) {
			b, neighbours := hostile(t, "", hostileOptions)
			_, err := b.Get(context.Background(), []byte("!get:"+act))
			if reason != "" {
				lost(t, b, err, storage.Unavailable, reason)
			} else if !errors.Is(err, storage.ErrNotFound) {
				t.Errorf("%v, want not found", err)
			}
			neighbours()
		})
	}
}

// A bare code above 255 is not the code of its low bits.
func TestHostileGetItems(t *testing.T) {
	b := openGuest(t, "parrot", "", wasmhost.Options{Name: "parrot"})
	for _, c := range []struct{ name, key, value string }{
		{"an item without a value has an empty one", "g", ""},
		{"a key in it is not looked at", "g\x0a\x03key\x12\x01v", "v"},
		{"unknown fields are skipped", "g\x12\x01v\x78\x05", "v"},
	} {
		it, err := b.Get(context.Background(), []byte(c.key))
		if err != nil || it.Value == nil || string(it.Value) != c.value || it.Key != nil {
			t.Errorf("%s: %+v, %v", c.name, it, err)
		}
	}
	tell(t, b, "m\x12\x01w")
	if it, err := b.Get(context.Background(), []byte("r\x01\x01\x00\x80\x00\x00\x00\x00")); err != nil || string(it.Value) != "w" {
		t.Errorf("the bare code 257: %+v, %v, want what plinth_call answers", it, err)
	}
}

func TestHostileCall(t *testing.T) {
	for act, reason := range inCall {
		for _, write := range []bool{false, true} {
			name, code := act+"/read", storage.Unavailable
			if write {
				name, code = act+"/write", storage.OutcomeUnknown
			}
			t.Run(name, func(t *testing.T) {
				b, neighbours := hostile(t, "", hostileOptions)
				var err error
				key := []byte("!call:" + act)
				if write {
					_, err = b.Apply(context.Background(), &storage.WriteSet{Ops: []storage.Op{storage.Put(key, []byte("v"))}})
				} else {
					_, err = b.Get(context.Background(), key)
				}
				switch {
				case reason != "":
					lost(t, b, err, code, reason)
				case write && err != nil, !write && !errors.Is(err, storage.ErrNotFound):
					t.Errorf("%v, want an answer as always", err)
				}
				neighbours()
			})
		}
	}
}

// Answers that are frames as they should be, but say what cannot be, are an
// error of the one who asked; the instance stays.
func TestHostileMessages(t *testing.T) {
	b, _ := hostile(t, "", hostileOptions)
	for _, c := range []struct{ act, read, write string }{
		{"unknown_code", "the unknown error code 200", "the unknown error code 200"},
		{"bad_error", "the answer's error could not be read: error: the field at 0 is cut", "the answer's error could not be read: error: the field at 0 is cut; the write may have been applied"},
		{"garbage", "get: invalid answer of the plugin: item: the field at 0 is cut", "apply: invalid answer of the plugin: apply answer: the field at 0 is cut"},
	} {
		key := []byte("!call:" + c.act)
		if _, err := b.Get(context.Background(), key); !errors.Is(err, storage.ErrInternal) || err.Error() != hostiles+c.read {
			t.Errorf("%s, read: %v", c.act, err)
		}
		_, err := b.Apply(context.Background(), &storage.WriteSet{Ops: []storage.Op{storage.Delete(key)}})
		// An answer of OK was given, if nothing is known of it, or an error that may have
		// said so: the write may have been done.
		if unknown := c.act != "unknown_code"; err.Error() != hostiles+c.write || storage.AsError(err).Unknown != unknown || errors.Is(err, storage.ErrOutcomeUnknown) != (c.act == "garbage") {
			t.Errorf("%s, write: %v", c.act, err)
		}
	}
	apply(t, b, storage.Put([]byte("key"), []byte("value")))
	expectValue(t, b, "key", "value")
}

// With room for it, an answer above 2 GiB is an answer like any other, up to the
// last byte that a module can address here.
func TestPointersAbove2GiB(t *testing.T) {
	b := openGuest(t, "hostile", "", wasmhost.Options{Name: "hostile", Memory: 4 << 30})
	apply(t, b, storage.Put([]byte("key"), []byte("value")))
	for range 2 {
		items, err := b.GetMany(context.Background(), [][]byte{[]byte("!call:last"), []byte("key")})
		if err != nil || len(items) != 1 || string(items[0].Value) != "value" {
			t.Fatalf("%+v, %v", items, err)
		}
	}
}

// What is wrong in plinth_open fails the open, and nothing else.
func TestHostileOpen(t *testing.T) {
	r := newRuntime(t)
	m := load(t, r, committed(t, "hostile"), hostileOptions)
	neighbour := openModule(t, m, "")
	apply(t, neighbour, storage.Put([]byte("key"), []byte("value")))
	for _, c := range []struct {
		name, config string
		code         storage.Code
		reason       string
	}{
		{"traps", "!open:trap", storage.Unavailable, "plinth_open: wasm error: unreachable"},
		{"loops", "!open:loop", storage.Unavailable, "plinth_open: exceeded limits.call (1.25s) and was interrupted"},
		{"recurses without a loop", "!open:twice", storage.Unavailable, "plinth_open: exceeded limits.call (1.25s) and was interrupted"},
		{"exits", "!open:exit7", storage.Unavailable, "plinth_open: the guest exited with code 7"},
		{"answers an error", "!open:error", storage.Internal, "I cannot go on"},
		{"answers a bare code", "!open:bare_error", storage.NoSpace, "plinth_open returned the bare code 18"},
		{"answers no Info", "!open:no_item", storage.Unavailable, broke + "plinth_open returned no Info: info: the field at 0 is cut"},
		{"answers outside of its memory", "!open:past_end", storage.Unavailable, broke + "plinth_open" + outside},
		{"answers too much", "!open:oversize", storage.Unavailable, broke + "plinth_open returned 2097153 bytes, max_frame is 2097152"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := m.Open(context.Background(), []byte(`{"do": "`+c.config+`"}`))
			if storage.CodeOf(err) != c.code || err.Error() != hostiles+c.reason {
				t.Errorf("%v: %v\nwant %v: %s", storage.CodeOf(err), err, c.code, c.reason)
			}
			expectValue(t, neighbour, "key", "value")
		})
	}
}

// A guest that has no buffer to give is lost, but what was to go into it was
// certainly not done. The guest's first buffer has room for 1152 KiB.
func TestHostileBuffer(t *testing.T) {
	for act, reason := range map[string]string{
		"trap":        "plinth_buffer: wasm error: unreachable",
		"loop":        "plinth_buffer: " + tooLong,
		"bare_error":  broke + "plinth_buffer returned no buffer of 1200027 bytes",
		"error":       broke + "plinth_buffer returned no buffer of 1200027 bytes",
		"tiny":        broke + "plinth_buffer returned no buffer of 1200027 bytes",
		"null_buffer": broke + "plinth_buffer returned no buffer of 1200027 bytes",
		"two_gib":     broke + "the request buffer lies outside of the memory",
		"oversize":    broke + "the request buffer lies outside of the memory",
	} {
		t.Run(act, func(t *testing.T) {
			o := hostileOptions
			o.MaxFrame = 8 << 20
			b, neighbours := hostile(t, `{"do": "!buffer:`+act+`"}`, o)
			apply(t, b, storage.Put([]byte("key"), []byte("value")))
			_, err := b.Raw(context.Background(), make([]byte, 1_200_027)) // more than any caller can ask for
			lost(t, b, err, storage.Unavailable, reason)
			neighbours()
		})
	}
	b, _ := hostile(t, `{"do": "!buffer:tiny"}`, hostileOptions)
	_, err := b.Raw(context.Background(), make([]byte, 1_300_000))
	if storage.CodeOf(err) != storage.Unavailable || storage.AsError(err).Unknown {
		t.Errorf("a request that never reached the guest: %v", err)
	}
}

// The guest's own limits keep a request away that is larger than it can take.
func TestRequestsBeyondTheGuestsLimits(t *testing.T) {
	b, _ := hostile(t, "", hostileOptions)
	big := make([]byte, 300<<10)
	for _, c := range []struct {
		name string
		w    storage.WriteSet
		want storage.Limit
	}{
		{"value", storage.WriteSet{Ops: []storage.Op{storage.Put([]byte("k"), big)}}, storage.Limit{Kind: "value", Max: 256 << 10, Actual: 300 << 10}},
		{"key", storage.WriteSet{Ops: []storage.Op{storage.Put(big, nil)}}, storage.Limit{Kind: "key", Max: 1 << 10, Actual: 300 << 10}},
		{"ops", storage.WriteSet{Ops: make([]storage.Op, 2000)}, storage.Limit{Kind: "ops", Max: 1 << 10, Actual: 2000}},
	} {
		_, err := b.Apply(context.Background(), &c.w)
		if e := storage.AsError(err); !errors.Is(err, storage.ErrSizeLimit) || e.Limit != c.want {
			t.Errorf("%s: %v, want %+v", c.name, err, c.want)
		}
	}
	if _, err := b.GetMany(context.Background(), make([][]byte, 513)); !errors.Is(err, storage.ErrSizeLimit) {
		t.Errorf("keys: %v", err)
	}
	apply(t, b, storage.Put([]byte("key"), []byte("value")))
	expectValue(t, b, "key", "value")
	// Reads of any length succeed: a bound is cut to what distinguishes keys, and a
	// key that cannot be there is absent.
	low, high := make([]byte, 60<<20), bytes.Repeat([]byte{0xFF}, 60<<20)
	if page, err := b.Scan(context.Background(), storage.Query{Start: low, End: high}); err != nil || len(page.Items) != 1 {
		t.Errorf("a scan with bounds of 60 MiB: %d items, %v", len(page.Items), err)
	}
	if _, err := b.Get(context.Background(), low); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("a key of 60 MiB: %v", err)
	}
	if items, err := b.GetMany(context.Background(), [][]byte{low, []byte("key"), high}); err != nil || len(items) != 1 {
		t.Errorf("among keys of 60 MiB: %d items, %v", len(items), err)
	}
	if _, err := b.Apply(context.Background(), &storage.WriteSet{Ops: []storage.Op{storage.DeleteRange(low, high)}}); err != nil {
		t.Errorf("a range delete with bounds of 60 MiB: %v", err)
	}
	if _, err := get(b, "key"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("what was in the range is there: %v", err)
	}
}

// What closing fails of is said, and everything is released all the same.
func TestHostileClose(t *testing.T) {
	for act, reason := range map[string]string{
		"trap":       "plinth_close: wasm error: unreachable",
		"loop":       "plinth_close: exceeded limits.call (1.25s) and was interrupted",
		"exit7":      "plinth_close: the guest exited with code 7",
		"bare_error": "plinth_close returned the bare code 18",
		"error":      "I cannot go on",
		"two_gib":    broke + "plinth_close returned 2147483647 bytes, max_frame is 2097152",
	} {
		t.Run(act, func(t *testing.T) {
			b, neighbours := hostile(t, `{"do": "!close:`+act+`"}`, hostileOptions)
			if err := b.Close(context.Background()); err == nil || err.Error() != hostiles+reason {
				t.Errorf("%v, want %q", err, hostiles+reason)
			}
			if err := b.Close(context.Background()); err != nil {
				t.Errorf("closing again: %v", err)
			}
			if _, err := b.Get(context.Background(), []byte("k")); !errors.Is(err, storage.ErrShuttingDown) {
				t.Errorf("a get after it: %v", err)
			}
			neighbours()
		})
	}
}
