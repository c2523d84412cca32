package budget_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plinthkv/plinth/internal/budget"
	"github.com/plinthkv/plinth/storage"
)

const size = 1000 // of the budgets here; a client has 250 at most

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fill takes all of a budget, by four clients.
func fill(t *testing.T, b *budget.Budget) (all []*budget.Account) {
	for i := range 4 {
		a := b.Open(i)
		must(t, a.Take(t.Context(), size/4))
		all = append(all, a)
	}
	return all
}

// Whoever came first goes first; one who has used up its client's share holds up
// nobody; who waits for too long, or leaves, takes nothing.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := budget.New(size)
		full := fill(t, b)
		var mu sync.Mutex
		var order []string
		errs := map[string]error{}
		var all sync.WaitGroup
		ask := func(name string, client any, n int64, ctx context.Context) {
			all.Go(func() {
				a := b.Open(client)
				err := a.Take(ctx, n)
				mu.Lock()
				order = append(order, name)
				errs[name] = err
				mu.Unlock()
				if err == nil {
					time.Sleep(100 * time.Millisecond)
				}
				a.Close()
			})
			synctest.Wait()
		}
		left, leave := context.WithCancel(t.Context())
		ask("greedy", 0, 200, t.Context()) // of a client that has its share
		ask("leaves", "x", 10, left)
		ask("large", "y", 250, t.Context())
		ask("small", "z", 1, t.Context())
		if s := b.Stats(); s.Waiting != 4 {
			t.Errorf("%d wait", s.Waiting)
		}
		leave()
		synctest.Wait()
		full[1].Give(200) // not enough for the large one, before which the small one does not go
		synctest.Wait()
		if len(order) != 1 {
			t.Errorf("%v", order)
		}
		full[2].Give(60)
		synctest.Wait()
		all.Wait()
		if len(order) != 4 || order[0] != "leaves" || order[1] == "greedy" || order[3] != "greedy" {
			t.Errorf("%v", order)
		}
		if !errors.Is(errs["leaves"], context.Canceled) || errs["large"] != nil || errs["small"] != nil {
			t.Errorf("%v", errs)
		}
		if e := storage.AsError(errs["greedy"]); e == nil || e.Code != storage.Unavailable || e.RetryAfter == 0 || e.Limit.Max != size {
			t.Errorf("%v", errs["greedy"])
		}
		for _, a := range full {
			a.Close()
		}
		if s := b.Stats(); s.Used != 0 || s.Waiting != 0 || s.Refused != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// What a client can never have is refused at once.
func TestShare(t *testing.T) {
	b := budget.New(size)
	a := b.Open("x")
	defer a.Close()
	must(t, a.Take(t.Context(), 200))
	if err := a.Take(t.Context(), 51); !errors.Is(err, storage.ErrSizeLimit) {
		t.Error(err)
	}
	if err := budget.Answer(a.Resize(t.Context(), 251)); !errors.Is(err, storage.ErrRangeLimit) {
		t.Error(err)
	}
	must(t, a.Take(t.Context(), 50))
}

// What arrives slowly is given up while others wait, and only then.
func TestSlowArrivals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := budget.New(size)
		full := fill(t, b)
		gone := make(chan struct{})
		full[0].Arrive(func() { close(gone) })
		time.Sleep(time.Minute)
		select {
		case <-gone:
			t.Fatal("it is given up although no call waits")
		default:
		}
		done := make(chan error)
		go func() { done <- b.Open("x").Take(t.Context(), 100) }()
		<-gone
		if err := full[0].Arrived(); !errors.Is(err, storage.ErrUnavailable) {
			t.Error(err)
		}
		full[0].Close()
		must(t, <-done)
	})
}

// An answer whose caller takes nothing is given up while others wait; one that is taken,
// however small, is not.
func TestAnswersThatNobodyTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := budget.New(size)
		full := fill(t, b)
		gone := make(chan struct{})
		full[0].Leave(func() { close(gone) })
		full[1].Leave(func() { t.Error("one that is taken was given up") })
		stop := make(chan struct{})
		go func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(100 * time.Millisecond):
					full[1].Reading(func() {})
				}
			}
		}()
		time.Sleep(time.Minute)
		done := make(chan error)
		go func() { done <- b.Open("x").Take(t.Context(), 100) }()
		<-gone
		if err := full[0].Arrived(); !errors.Is(err, storage.ErrUnavailable) {
			t.Error(err)
		}
		full[0].Close()
		must(t, <-done)
		close(stop)
		if err := full[1].Arrived(); err != nil {
			t.Error(err)
		}
	})
}

// Whatever happens concurrently, no client has more than the share, all together no
// more than the budget, and in the end nothing is left.
func TestSums(t *testing.T) {
	b := budget.New(size)
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 1))
			for range 500 {
				a := b.Open(r.IntN(5))
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(r.IntN(200))*time.Microsecond)
				for range 3 {
					switch r.IntN(3) {
					case 0:
						a.Give(int64(r.IntN(50)))
					default:
						_ = a.Take(ctx, int64(r.IntN(150)))
					}
				}
				if s := b.Stats(); s.Used > size || s.Used < 0 {
					t.Errorf("%+v", s)
				}
				cancel()
				a.Close()
			}
		})
	}
	all.Wait()
	if s := b.Stats(); s.Used != 0 || s.Waiting != 0 {
		t.Errorf("%+v", s)
	}
}

// An answer that is larger than was guessed is dropped before there is a wait for it.
func TestFetch(t *testing.T) {
	b := budget.New(1 << 20)
	a := b.Open("x")
	defer a.Close()
	var g budget.Guess
	reads, dropped := 0, 0
	must(t, budget.Fetch(t.Context(), a, &g, 1, func() (int64, error) { reads++; return 100_000, nil }, func() { dropped++ }))
	if reads != 2 || dropped != 1 || a.Held() != 100_000 {
		t.Errorf("%d reads, %d dropped, %d held", reads, dropped, a.Held())
	}
	must(t, budget.Fetch(t.Context(), a, &g, 1, func() (int64, error) { reads++; return 10, nil }, func() { dropped++ }))
	if reads != 3 || dropped != 1 || a.Held() != 100_010 {
		t.Errorf("%d reads, %d dropped, %d held", reads, dropped, a.Held())
	}
	err := budget.Fetch(t.Context(), a, &g, 1, func() (int64, error) { return 1 << 20, nil }, func() {})
	if !errors.Is(err, storage.ErrRangeLimit) {
		t.Error(err)
	}
}

// A page is given room as it was asked for, one of a large item as much as that takes; what
// such items take is guessed for the next, within half of a client's share.
func TestFetchPage(t *testing.T) {
	b := budget.New(4 << 20)
	a := b.Open("x")
	defer a.Close()
	var g budget.Guess
	page := func(n int64) (reads int, err error) {
		err = budget.FetchPage(t.Context(), a, &g, 10_000, func() (int64, error) { reads++; return n, nil }, func() {})
		a.Give(a.Held())
		return reads, err
	}
	for _, c := range []struct {
		n     int64
		reads int
	}{{9000, 1}, {100_000, 2}, {100_000, 1}, {700_000, 2}, {700_000, 2}} { // the last are beyond half of the share
		if reads, err := page(c.n); err != nil || reads != c.reads {
			t.Errorf("a page of %d: %d reads, want %d; %v", c.n, reads, c.reads, err)
		}
	}
	if _, err := page(2 << 20); !errors.Is(err, storage.ErrRangeLimit) {
		t.Error(err)
	}
	must(t, budget.Fetch(t.Context(), a, nil, 1, func() (int64, error) { return 10, nil }, func() {})) // of a store that is gone
	if room := budget.Page(nil, &g, 10, 2); room < 10 {
		t.Errorf("without a bound there is room for %d", room)
	}
}
