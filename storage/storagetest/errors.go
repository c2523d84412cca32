package storagetest

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/plinthkv/plinth/storage"
)

func errorChecks() []Check {
	return in("errors",
		alone(is("closed", 0, func(t *T) {
			t.set("k", "v")
			t.must(t.b.Close(t.ctx))
			for name, err := range t.everyCall(t.ctx) {
				if storage.CodeOf(err) != storage.ShuttingDown {
					t.Errorf("%s after Close: %v, want %s", name, err, storage.ShuttingDown)
				}
			}
			t.must(t.b.Close(t.ctx))
			t.must(t.b.Close(t.ctx))
			if t.b.Info().Name != t.info.Name {
				t.Errorf("Info after Close is %+v", t.b.Info())
			}
		})),
		alone(is("closed_amid_calls", 0, closedAmidCalls)),
		is("cancelled_before", 0, func(t *T) {
			ctx, cancel := context.WithCancel(t.ctx)
			cancel()
			t.endedBefore(ctx, storage.Canceled)
		}),
		is("too_late_before", 0, func(t *T) {
			ctx, cancel := context.WithDeadline(t.ctx, time.Now().Add(-time.Second))
			defer cancel()
			t.endedBefore(ctx, storage.Timeout)
		}),
		is("cancelled_amid_calls", 0, cancelledAmidCalls),
		alone(is("hold_no_values_and_no_whole_keys", 0, textsHoldNoSecrets)),
		is("of_one_type", 0, func(t *T) {
			_, err := t.b.Get(t.ctx, bs("absent"))
			t.wantCode(err, storage.NotFound)
			if !errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrConflict) {
				t.Errorf("errors.Is does not tell %v", err)
			}
			if e := storage.AsError(err); e.Retryable() || e.Unknown {
				t.Errorf("not found is neither retryable nor of unknown outcome: %+v", e)
			}
		}),
	)
}

// everyCall returns what each method that can fail returns under ctx.
func (t *T) everyCall(ctx context.Context) map[string]error {
	_, get := t.b.Get(ctx, bs("k"))
	_, many := t.b.GetMany(ctx, [][]byte{bs("k")})
	_, scan := t.b.Scan(ctx, storage.Query{})
	_, put := t.b.Apply(ctx, &storage.WriteSet{Ops: []storage.Op{storage.Put(bs("k"), bs("changed"))}})
	_, health := t.b.Health(ctx, storage.Readiness)
	return map[string]error{"Get": get, "GetMany": many, "Scan": scan, "Apply": put, "Health": health}
}

// endedBefore: an Apply does nothing and says so; the others say so or answer.
func (t *T) endedBefore(ctx context.Context, want storage.Code) {
	t.set("k", "v")
	for name, err := range t.everyCall(ctx) {
		if name != "Apply" && err == nil {
			continue
		}
		if storage.CodeOf(err) != want || !errors.Is(err, ctx.Err()) {
			t.Errorf("%s under a context that has ended: %v, want %s", name, err, want)
		} else if storage.Unknown(err) {
			t.Errorf("%s under a context that has ended is said to be of unknown outcome", name)
		}
	}
	t.wantValue("k", "v")
	var ranged error
	for _, err := range t.s.Range(ctx, nil, nil, storage.RangeOptions{}) {
		ranged = err
	}
	if ranged != nil && storage.CodeOf(ranged) != want {
		t.Errorf("Range under a context that has ended: %v, want %s", ranged, want)
	}
}

// closedAmidCalls: calls end, well or as shut down, and Close comes back.
func closedAmidCalls(t *T) {
	t.setAll("a", "b")
	closing := make(chan struct{})
	t.parallel(9, func(i int) {
		if i == 0 {
			<-closing
			t.must(t.b.Close(t.ctx))
			return
		}
		for n := 0; ; n++ {
			if i == 1 && n == 20 {
				close(closing)
			}
			_, err := t.b.Apply(t.ctx, &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte{byte(i)}, bs("v"))}})
			if err == nil {
				_, err = t.b.Scan(t.ctx, storage.Query{})
			}
			if err != nil {
				t.wantCode(err, storage.ShuttingDown)
				return
			}
		}
	})
}

// cancelledAmidCalls cancels while writers queue: what was refused was not done,
// what was acknowledged is there, and the others go on.
func cancelledAmidCalls(t *T) {
	for round := range 20 {
		ctx, cancel := context.WithCancel(t.ctx)
		t.parallel(8, func(i int) {
			for n := range 20 {
				if i == 0 {
					if n == 5 {
						cancel()
					}
					t.must(t.s.Set(t.ctx, bs("steady"), bs("v")))
					continue
				}
				key := []byte{'k', byte(round), byte(i), byte(n)}
				_, err := t.b.Apply(ctx, &storage.WriteSet{Ops: []storage.Op{storage.Put(key, key)}})
				_, found := t.b.Get(t.ctx, key)
				switch {
				case err == nil:
					t.must(found)
				case storage.Unknown(err):
				default:
					t.wantCode(err, storage.Canceled)
					t.wantCode(found, storage.NotFound)
				}
			}
		})
		cancel()
	}
}

// textsHoldNoSecrets provokes every error it can with a key and a value that must not
// appear in its text.
func textsHoldNoSecrets(t *T) {
	const key, value = "secret-key-7f3a", "secret-value-9c1b"
	k, v := bs(key), bs(value)
	t.set(key, value)
	look := func(what string, err error) {
		if err == nil {
			return
		}
		if text := err.Error(); strings.Contains(text, key) || strings.Contains(text, value) || strings.Contains(text, "9c1b") {
			t.Errorf("the error of %s holds a key or a value: %s", what, text)
		}
	}
	_, err := t.b.Get(t.ctx, append(k, "-absent"...))
	look("a get", err)
	look("insert", errOf(t.s.Put(t.ctx, k, v, storage.IfAbsent())))
	look("compare-and-set", errOf(t.s.Put(t.ctx, k, v, storage.IfValue(append(v, 'x')))))
	look("compare-and-delete", errOf(t.s.Remove(t.ctx, k, storage.IfVersion(1))))
	look("a hostile op", t.try(nil, storage.Op{Kind: 77, Key: k, Value: v}))
	look("a hostile check", t.try([]storage.Check{{Kind: 77, Key: k, Value: v}}, storage.Put(k, v)))
	_, err = t.b.Apply(t.ctx, &storage.WriteSet{ID: [16]byte{1}, Ops: []storage.Op{storage.Put(k, v)}})
	look("an ID", err)
	_, err = t.b.Apply(t.ctx, &storage.WriteSet{ID: [16]byte{1}, Ops: []storage.Op{storage.Put(k, append(v, 'x'))}})
	look("an ID again", err)
	if most := t.info.Limits.Key; most > 0 && most < saneLimit {
		look("a long key", t.s.Set(t.ctx, []byte(strings.Repeat(key, most/len(key)+1)), v))
	}
	if most := t.info.Limits.Value; most > 0 && most < saneLimit {
		look("a long value", t.s.Set(t.ctx, k, []byte(strings.Repeat(value, most/len(value)+1))))
	}
	_, err = t.b.Scan(t.ctx, storage.Query{Start: k, End: v, Limit: -1})
	look("a scan", err)
	_, err = t.b.Scan(t.ctx, storage.Query{Start: k, AtVersion: 1})
	look("a scan of the past", err)
	_, err = storage.GetJSON[int](t.ctx, t.s, k)
	look("GetJSON", err)
	t.must(t.b.Close(t.ctx))
	for name, err := range t.everyCall(t.ctx) {
		look(name+" after Close", err)
	}
}
