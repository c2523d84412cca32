package host

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/plinthkv/plinth/config"
	"github.com/plinthkv/plinth/internal/backoff"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// How long an optional store that cannot be opened waits for the next try: laterFirst, then
// twice as long each time, up to laterMost.
const (
	laterFirst = time.Second
	laterMost  = time.Minute
)

// later is the top of an optional store: the pipeline once it is open, and until then a
// backend that is unavailable. It is safe for concurrent use.
type later struct {
	open atomic.Pointer[openedStore] // nil: not yet
	why  atomic.Pointer[string]

	end  context.CancelFunc
	gone sync.WaitGroup
}

// openedStore is a store that was opened late.
type openedStore struct {
	*Store
	top storage.Backend
}

// openLater gives a store that could not be opened, and goes on trying.
func (h *Host) openLater(cfg *config.Config, name string, why error) {
	sc := cfg.Stores[name]
	l := &later{}
	l.say(why)
	s := &Store{name: name, plugin: sc.Backend.Plugin, later: l}
	for _, stage := range sc.Pipeline {
		s.stages = append(s.stages, stage.Name)
	}
	// What it will be is not known: others may write to it.
	s.backend = &backend{Backend: l, hub: wrappers.NewHub(l), shared: true}
	s.Store = storage.New(l, storage.Settings{Clock: h.clock.Now, Borrowed: true})
	h.stores[name] = s
	log := h.settings.Log.With("store", name)
	log.Warn("an optional store cannot be opened: it is unavailable, and tried again", "error", why)
	ctx, cancel := context.WithCancel(context.Background())
	l.end = cancel
	l.gone.Go(func() {
		pauses := backoff.Doubling{First: laterFirst, Most: laterMost}
		for n := 0; backoff.Wait(ctx, pauses.Half(n), nil); n++ {
			opened, err := h.tryLater(ctx, cfg, name)
			if err == nil {
				l.open.Store(&openedStore{opened, opened.top()})
				log.Info("an optional store is open")
				return
			}
			l.say(err)
			log.Debug("an optional store still cannot be opened", "error", err)
		}
	})
}

// tryLater builds the store once more. What it opened is closed again if it fails.
func (h *Host) tryLater(ctx context.Context, cfg *config.Config, name string) (*Store, error) {
	h.opening.Lock()
	defer h.opening.Unlock()
	h.forget(cfg.Stores[name].Backend.Plugin)
	backends := len(h.backends)
	s, err, more := h.build(ctx, cfg, name)
	if err = config.Join(err, more); err == nil {
		return s, nil
	}
	for _, b := range h.backends[backends:] {
		err = config.Join(err, b.Close(context.WithoutCancel(ctx)))
	}
	h.backends = h.backends[:backends]
	return nil, err
}

func (l *later) say(why error) {
	text := why.Error()
	l.why.Store(&text)
}

// stop ends the tries, and gives the store if it was opened.
func (l *later) stop() *Store {
	l.end()
	l.gone.Wait()
	if o := l.open.Load(); o != nil {
		return o.Store
	}
	return nil
}

// next is the pipeline, or why there is none.
func (l *later) next() (storage.Backend, error) {
	if o := l.open.Load(); o != nil {
		return o.top, nil
	}
	return nil, &storage.Error{Code: storage.Unavailable, Msg: "the store is not open: " + *l.why.Load(), RetryAfter: laterFirst}
}

func (l *later) Get(ctx context.Context, key []byte) (storage.Item, error) {
	b, err := l.next()
	if err != nil {
		return storage.Item{}, err
	}
	return b.Get(ctx, key)
}

func (l *later) GetMany(ctx context.Context, keys [][]byte) ([]storage.Item, error) {
	b, err := l.next()
	if err != nil {
		return nil, err
	}
	return b.GetMany(ctx, keys)
}

func (l *later) Scan(ctx context.Context, q storage.Query) (storage.Page, error) {
	b, err := l.next()
	if err != nil {
		return storage.Page{}, err
	}
	return b.Scan(ctx, q)
}

func (l *later) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	b, err := l.next()
	if err != nil {
		return 0, err
	}
	return b.Apply(ctx, w)
}

// Health of a store that is not open is degraded: it is optional, and the host is ready
// without it.
func (l *later) Health(ctx context.Context, p storage.Probe) (storage.Health, error) {
	b, err := l.next()
	switch {
	case err == nil:
		return b.Health(ctx, p)
	case p == storage.Liveness:
		return storage.Health{Status: storage.Healthy}, nil
	}
	return storage.Health{Status: storage.Degraded, Reason: err.Error(), Details: map[string]string{"state": "unavailable"}}, nil
}

// Info is empty as long as the store is not open.
func (l *later) Info() storage.Info {
	b, err := l.next()
	if err != nil {
		return storage.Info{}
	}
	return b.Info()
}

// Close does nothing: the host closes the store.
func (l *later) Close(context.Context) error { return nil }
