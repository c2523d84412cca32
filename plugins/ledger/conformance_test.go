package ledger_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/plinthkv/plinth/internal/ledger/ledgertest"
	"github.com/plinthkv/plinth/plugins/ledger"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
	"github.com/plinthkv/plinth/wrappers"
	"github.com/plinthkv/plinth/wrappers/prefix"
)

// wholeSecond is the kit's clock at a whole second: expiries are kept in those.
func wholeSecond() *storagetest.Clock {
	clock := storagetest.NewClock()
	clock.Advance(clock.Now().Truncate(time.Second).Add(time.Second).Sub(clock.Now()))
	return clock
}

// steady is a server's clock: the kit's, but never back. The kit moves the clock of
// the host, and a server has its own.
func steady(clock *storagetest.Clock) func() time.Time {
	var mu sync.Mutex
	var last time.Time
	return func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		if now := clock.Now(); now.After(last) {
			last = now
		}
		return last
	}
}

// factory opens backends on clusters of one node, in this process.
func factory(clock *storagetest.Clock) storagetest.Factory {
	return factoryOf(clock, func(ctx context.Context, c *ledgertest.Cluster) (storage.Backend, error) {
		return ledger.New(ctx, settings(c), sdk.Env{Now: clock.Now})
	})
}

// factoryOf opens backends as open does, each on a cluster of its own, with which it
// ends; one that is opened again is on the last, whose node was started again.
func factoryOf(clock *storagetest.Clock, open func(context.Context, *ledgertest.Cluster) (storage.Backend, error)) storagetest.Factory {
	var last *ledgertest.Cluster
	on := func(ctx context.Context, c *ledgertest.Cluster) (storage.Backend, error) {
		b, err := open(ctx, c)
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		return storagetest.WithClose(b, func(ctx context.Context) error { return errors.Join(b.Close(ctx), c.Close()) }), nil
	}
	return storagetest.Factory{Clock: clock,
		Open: func(ctx context.Context) (storage.Backend, error) {
			c, err := ledgertest.Start(ledgertest.Options{Clock: steady(clock)})
			if err != nil {
				return nil, err
			}
			last = c
			return on(ctx, c)
		},
		Reopen: func(ctx context.Context) (storage.Backend, error) {
			if err := last.Node(0).Restart(); err != nil {
				return nil, err
			}
			return on(ctx, last)
		},
	}
}

// noEmptyKey is why checks fail that store something at the empty key.
const noEmptyKey = "Ledger has no empty keys: the check uses one"

// exceptions are what the protocol cannot do. Behind a prefix, where no key is empty,
// the same checks pass: see TestConformanceBehindAPrefix.
func exceptions() (all []storagetest.Exception) {
	for _, check := range []string{
		"crud/get_missing_key", "crud/empty_key_and_value", "crud/nil_key_and_value_are_empty", "crud/get_many",
		"range/byte_order", "range/empty_key", "range/prefix", "range/of_random_keys",
		"clear_range/empty_and_inverted", "clear_range/of_everything", "scan/keys_only", "scan/items_are_as_get_answers_them",
		"model/short_scripts", "model/long_script",
	} {
		all = append(all, storagetest.Except(check, noEmptyKey))
	}
	return append(all, largeRanges)
}

// largeRanges is refused, wherever the backend is: the server deletes key by key, and one
// write set has no more than a thousand.
var largeRanges = storagetest.Except("clear_range/of_many_keys", "the server has no range delete, and one write deletes 1000 keys at most: a larger range is refused, and nothing of it deleted")

func TestConformance(t *testing.T) {
	if testing.Short() {
		t.Skip("a minute under the race detector, where the same checks run behind a prefix, whose ranges are one request and not sixteen")
	}
	t.Parallel() // it mostly waits
	storagetest.Run(t, factory(wholeSecond()), exceptions()...)
}

// The whole contract holds where the empty key is another one below.
func TestConformanceBehindAPrefix(t *testing.T) {
	t.Parallel()
	storagetest.Run(t, behind(factory(wholeSecond()), prefixed), largeRanges)
}

func prefixed(b storage.Backend) (storage.Backend, error) {
	return prefix.New(b, prefix.Config{Prefix: "t/"}, wrappers.Settings{Stage: "prefix"})
}

// behind has every backend of f be one that put makes of it.
func behind(f storagetest.Factory, put func(storage.Backend) (storage.Backend, error)) storagetest.Factory {
	over := func(open func(context.Context) (storage.Backend, error)) func(context.Context) (storage.Backend, error) {
		return func(ctx context.Context) (storage.Backend, error) {
			b, err := open(ctx)
			if err != nil {
				return nil, err
			}
			top, err := put(b)
			if err != nil {
				return nil, errors.Join(err, b.Close(ctx))
			}
			return storagetest.WithClose(top, func(ctx context.Context) error { return errors.Join(top.Close(ctx), b.Close(ctx)) }), nil
		}
	}
	f.Open, f.Reopen = over(f.Open), over(f.Reopen)
	return f
}
