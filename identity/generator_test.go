package identity

import (
	"slices"
	"sync"
	"testing"
	"time"
)

// Many goroutines over several generators make no ID twice, and each sees its own grow.
func TestNoIDTwice(t *testing.T) {
	const generators, callers, each = 3, 4, 20_000
	var mu sync.Mutex
	var all []UserSlug
	var wg sync.WaitGroup
	for worker := range generators {
		g := generator(t, Options{Worker: worker})
		for range callers {
			wg.Go(func() {
				own := make([]UserSlug, each)
				for i := range own {
					own[i] = made(t, g)
				}
				if !slices.IsSorted(own) {
					t.Error("an ID is smaller than the one before")
				}
				mu.Lock()
				defer mu.Unlock()
				all = append(all, own...)
			})
		}
	}
	wg.Wait()
	slices.Sort(all)
	if n := len(slices.Compact(all)); n != generators*callers*each {
		t.Errorf("%d of %d IDs are different", n, generators*callers*each)
	}
	now := time.Now()
	for _, id := range all {
		if id.Worker() >= generators || now.Sub(id.Time()) > time.Minute || id.Time().After(now) {
			t.Fatalf("%d: worker %d at %v", id, id.Worker(), id.Time())
		}
	}
}

func generator(t *testing.T, o Options) *Generator {
	t.Helper()
	g, err := NewGenerator(o)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func made(t *testing.T, g *Generator) UserSlug {
	id, err := Generate[UserSlug](g)
	if err != nil {
		t.Error(err)
	}
	return id
}

// A millisecond has 1024 IDs; then the next one is waited for.
func TestFullMillisecond(t *testing.T) {
	now := time.UnixMilli(epoch + 1000)
	g := generator(t, Options{Worker: 5, Now: func() time.Time { return now }})
	waits := 0
	g.sleep = func(d time.Duration) {
		if waits++; d <= 0 || d > time.Millisecond {
			t.Errorf("it waits %v", d)
		}
		now = now.Add(d)
	}
	for i := range 3000 {
		id := made(t, g)
		if at := id.Time().UnixMilli() - epoch - 1000; at != int64(i/1024) || id.Sequence() != i%1024 || id.Worker() != 5 {
			t.Fatalf("ID %d is %d of millisecond %d", i, id.Sequence(), at)
		}
	}
	if waits != 2 {
		t.Errorf("it waited %d times", waits)
	}
}

// A clock that goes back an hour neither stops the generator nor makes an ID twice.
func TestClockGoesBack(t *testing.T) {
	now := time.UnixMilli(epoch + 7_200_000)
	g := generator(t, Options{Now: func() time.Time { return now }})
	g.sleep = func(time.Duration) { t.Fatal("it waits") }
	last := made(t, g)
	now = now.Add(-time.Hour)
	for range 5000 {
		id := made(t, g)
		if id <= last {
			t.Fatalf("%d follows %d", id, last)
		}
		last = id
	}
	now = now.Add(2 * time.Hour)
	if id := made(t, g); !id.Time().Equal(now.UTC()) || id.Sequence() != 0 {
		t.Errorf("it does not follow the clock when that is right again: %v", id.Time())
	}
}

func TestRefused(t *testing.T) {
	if _, err := NewGenerator(Options{Worker: MaxWorker + 1}); err == nil {
		t.Error("a worker of 4096 is taken")
	}
	for _, at := range []int64{epoch - 1, -1, epoch + 1<<timeBits} {
		g := generator(t, Options{Worker: -1, Now: func() time.Time { return time.UnixMilli(at) }})
		if id, err := Generate[VaultSlug](g); err == nil || id != 0 {
			t.Errorf("at %d: %v, %v", at, id, err)
		}
	}
	seen := map[uint64]bool{}
	for range 20 {
		g := generator(t, Options{Worker: -1})
		seen[g.worker] = true
	}
	if len(seen) < 10 {
		t.Errorf("20 random workers are %d different ones", len(seen))
	}
}

func BenchmarkGenerate(b *testing.B) {
	g, _ := NewGenerator(Options{Worker: 1})
	at := time.UnixMilli(epoch)
	for name, now := range map[string]func() time.Time{
		"the work alone":  func() time.Time { at = at.Add(time.Microsecond); return at },
		"at most 1024/ms": time.Now,
	} {
		b.Run(name, func(b *testing.B) {
			g.last.Store(0)
			g.now = now
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Generate[VaultSlug](g); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse[VaultSlug]("328974382974329876"); err != nil {
			b.Fatal(err)
		}
	}
}
