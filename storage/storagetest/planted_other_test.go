package storagetest_test

import (
	"context"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

// shifted is a backend whose versions others see through f.
func shifted(p *planted, f func(uint64) uint64) {
	p.get = func(ctx context.Context, key []byte) (storage.Item, error) {
		it, err := p.Backend.Get(ctx, key)
		it.Version = f(it.Version)
		return it, err
	}
	p.apply = func(ctx context.Context, w *storage.WriteSet) (uint64, error) {
		v, err := p.Backend.Apply(ctx, w)
		return f(v), err
	}
	p.scan = func(ctx context.Context, q storage.Query) (storage.Page, error) {
		page, err := p.Backend.Scan(ctx, q)
		for i := range page.Items {
			page.Items[i].Version = f(page.Items[i].Version)
		}
		page.Version = f(page.Version)
		return page, err
	}
}

var otherFaults = []fault{
	{"repeated version", []string{"versions/each_change_gets_a_greater_one", "versions/never_repeat_over_delete_and_recreate", "versions/unique_among_concurrent_writers", "model/long_script"}, func(p *planted, _ *storagetest.Clock) {
		shifted(p, func(v uint64) uint64 { return v &^ 1 })
	}},
	{"versions from 1 in each life", []string{"versions/never_repeat_over_restarts"}, func(p *planted, clock *storagetest.Clock) {
		base := storage.FirstVersion(clock.Now())
		shifted(p, func(v uint64) uint64 { return v - base })
	}},
	{"a page of an older version", []string{"versions/pages_say_theirs"}, func(p *planted, _ *storagetest.Clock) {
		p.scan = func(ctx context.Context, q storage.Query) (storage.Page, error) {
			page, err := p.Backend.Scan(ctx, q)
			page.Version--
			return page, err
		}
	}},
	{"lost state under the same incarnation", []string{"restart/state_is_kept_or_known_to_be_lost"}, func(p *planted, _ *storagetest.Clock) {
		p.info = func() storage.Info {
			info := p.Backend.Info()
			info.Incarnation = [16]byte{1}
			return info
		}
	}},
	{"said to be durable", []string{"restart/state_is_kept_or_known_to_be_lost", "restart/many_keys_stay", "idempotency/remembered_over_a_restart"}, func(p *planted, _ *storagetest.Clock) {
		p.info = func() storage.Info {
			info := p.Backend.Info()
			info.Caps |= storage.CapDurable
			return info
		}
	}},
	{"a lower limit than Info says", []string{"limits/key", "limits/value", "limits/ops", "limits/write_bytes", "limits/get_keys"}, func(p *planted, _ *storagetest.Clock) {
		info := p.Backend.Info()
		info.Limits = storage.Limits{Key: info.Limits.Key + 1, Value: info.Limits.Value + 1, Ops: info.Limits.Ops + 1, WriteBytes: info.Limits.WriteBytes + 1, GetKeys: info.Limits.GetKeys + 1}
		p.info = func() storage.Info { return info }
	}},
	{"a higher limit than Info says", []string{"limits/key", "limits/value", "limits/ops", "limits/write_bytes", "limits/get_keys"}, func(p *planted, _ *storagetest.Clock) {
		info := p.Backend.Info()
		info.Limits = storage.Limits{Key: info.Limits.Key - 1, Value: info.Limits.Value - 1, Ops: info.Limits.Ops - 1, WriteBytes: info.Limits.WriteBytes - 1, GetKeys: info.Limits.GetKeys - 1}
		p.info = func() storage.Info { return info }
	}},
	{"an ability that is missing in Info", []string{"capabilities/what_is_lacking_is_refused"}, func(p *planted, _ *storagetest.Clock) {
		p.info = func() storage.Info {
			info := p.Backend.Info()
			info.Caps &^= storage.CapReverse
			return info
		}
	}},
	{"calls after Close", []string{"errors/closed"}, func(p *planted, _ *storagetest.Clock) {
		p.close = func(context.Context) error { return nil }
	}},
	{"a second Close that fails", []string{"errors/closed"}, func(p *planted, _ *storagetest.Clock) {
		closed := false
		p.close = func(ctx context.Context) error {
			if closed {
				return storage.ErrShuttingDown
			}
			closed = true
			return p.Backend.Close(ctx)
		}
	}},
	{"a goroutine left behind", []string{"leaks/goroutines"}, func(p *planted, _ *storagetest.Clock) {
		wait := make(chan struct{})
		go func() { <-wait }()
	}},
	{"memory left behind", []string{"leaks/memory"}, func(p *planted, _ *storagetest.Clock) {
		p.apply = func(ctx context.Context, w *storage.WriteSet) (uint64, error) {
			for _, o := range w.Ops {
				leaked = append(leaked, make([]byte, 16*len(o.Value)))
			}
			return p.Backend.Apply(ctx, w)
		}
	}},
	{"a clock that goes back", []string{"ttl/clock_that_goes_back_revives_nothing"}, func(p *planted, clock *storagetest.Clock) {
		kept := storagetest.NewModel(clock.Now, p.Backend.Info())
		p.apply = kept.Apply
		p.getMany, p.scan = kept.GetMany, kept.Scan
		items := map[string]storage.Item{} // each judged by its own look at the clock
		p.get = func(ctx context.Context, key []byte) (storage.Item, error) {
			if it, ok := items[string(key)]; ok && it.ExpiresAt.After(clock.Now()) {
				return it, nil
			}
			it, err := kept.Get(ctx, key)
			if err == nil {
				items[string(key)] = it
			}
			return it, err
		}
	}},
	{"a panic", []string{"crud/get_missing_key"}, func(p *planted, _ *storagetest.Clock) {
		p.get = func(context.Context, []byte) (storage.Item, error) { panic("planted") }
	}},
}

var leaked [][]byte
