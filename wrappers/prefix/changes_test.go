package prefix_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
	"github.com/plinthkv/plinth/wrappers/cache"
	"github.com/plinthkv/plinth/wrappers/prefix"
)

// followed is a backend whose changes can be followed.
func followed(t *testing.T) storage.Backend {
	below := memory.New(memory.DefaultConfig(), sdk.Env{Now: time.Now})
	t.Cleanup(func() { below.Close(context.Background()) })
	hub := wrappers.NewHub(below)
	hub.KeepChanges(time.Now)
	return hub.Backend()
}

func write(t *testing.T, b storage.Backend, ops ...storage.Op) {
	t.Helper()
	if _, err := b.Apply(t.Context(), &storage.WriteSet{Ops: ops}); err != nil {
		t.Fatal(err)
	}
}

// Changes are those below the prefix, without it; of a range that was deleted, the part of it
// that is.
func TestChanges(t *testing.T) {
	for _, p := range []string{"app/", "\xff", "\xff\xff", "a\xff"} {
		b := followed(t)
		over, err := prefix.New(b, prefix.Config{Prefix: p}, wrappers.Settings{})
		if err != nil {
			t.Fatal(err)
		}
		now, err := over.Changes(t.Context(), storage.ChangeQuery{FromNow: true})
		if err != nil {
			t.Fatal(err)
		}
		key := func(s string) []byte { return []byte(p + s) }
		write(t, b, storage.Put(key(""), nil), storage.Put([]byte("a"), nil), storage.Put(key("b"), []byte("v")), storage.Put([]byte(p[:len(p)-1]), nil))
		for _, r := range []struct{ start, end []byte }{
			{nil, key("b")},            // from before the prefix into it
			{key("c"), key("d")},       // within it
			{key("x"), nil},            // from within it to the end
			{[]byte("0"), []byte("1")}, // nothing of it
			{nil, nil},
		} {
			write(t, b, storage.Put(key("a"), nil), storage.Put(key("c"), nil), storage.Put(key("x"), nil), storage.Put([]byte("0"), nil))
			write(t, b, storage.DeleteRange(r.start, r.end))
		}
		for _, c := range []struct{ start, end, want string }{
			{"", "-", `put "" put "b"=v put "a" put "c" put "x" range ""-"b" put "a" put "c" put "x" range "c"-"d" put "a" put "c" put "x" range "x"- put "a" put "c" put "x" put "a" put "c" put "x" range ""-`},
			{"b", "y", `put "b"=v put "c" put "x" put "c" put "x" range "c"-"d" put "c" put "x" range "x"-"y" put "c" put "x" put "c" put "x" range "b"-"y"`},
		} {
			q := storage.ChangeQuery{Start: []byte(c.start), After: now.Next}
			if c.end != "-" {
				q.End = []byte(c.end)
			}
			page, err := over.Changes(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			if got := told(page.Changes); got != c.want {
				t.Errorf("%q, from %q to %q:\n%s, want\n%s", p, c.start, c.end, got, c.want)
			}
			if rest, err := over.Changes(t.Context(), storage.ChangeQuery{After: page.Next}); err != nil || len(rest.Changes) > 0 || rest.Next != page.Next {
				t.Errorf("after all of them: %+v, %v", rest, err)
			}
		}
	}
}

func told(changes []storage.Change) string {
	var all []string
	for _, c := range changes {
		switch c.Kind {
		case storage.ChangePut:
			one := fmt.Sprintf("put %q", c.Key)
			if len(c.Value) > 0 {
				one += "=" + string(c.Value)
			}
			all = append(all, one)
		case storage.ChangeDelete:
			all = append(all, fmt.Sprintf("delete %q", c.Key))
		case storage.ChangeDeleteRange:
			if storage.EmptyRange(c.Key, c.End) {
				continue // may be left out
			}
			one := fmt.Sprintf("range %q-", c.Key)
			if c.End != nil {
				one += fmt.Sprintf("%q", c.End)
			}
			all = append(all, one)
		}
	}
	return strings.Join(all, " ")
}

// Who follows through a prefix is woken by a change below it, and by no other.
func TestFollowThroughAPrefix(t *testing.T) {
	b := followed(t)
	over, err := prefix.New(b, prefix.Config{Prefix: "app/"}, wrappers.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	follower := storage.New(over, storage.Settings{}).Changes(nil, nil, storage.ChangesOptions{FromScan: true})
	write(t, b, storage.Put([]byte("app/before"), nil), storage.Put([]byte("other"), nil))
	var writing sync.WaitGroup
	writing.Go(func() {
		time.Sleep(20 * time.Millisecond)
		write(t, b, storage.Put([]byte("other"), nil))
		time.Sleep(20 * time.Millisecond)
		write(t, b, storage.Put([]byte("app/later"), nil))
	})
	defer writing.Wait()
	var seen []string
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for c, err := range follower.All(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if seen = append(seen, string(c.Key)); len(seen) == 2 {
			break
		}
	}
	if got := strings.Join(seen, " "); got != "before later" {
		t.Errorf("it sees %s", got)
	}
}

// A cache above a prefix follows what others write below it.
func TestCacheAboveFollowsOthers(t *testing.T) {
	b := followed(t)
	hub := wrappers.NewHub(b)
	hub.Share()
	over, err := prefix.New(hub.Backend(), prefix.Config{Prefix: "app/"}, wrappers.Settings{Hub: hub})
	if err != nil {
		t.Fatal(err)
	}
	c := cache.DefaultConfig()
	c.TTL, c.NegativeTTL, c.Staleness = time.Hour, time.Hour, 10*time.Second
	top, err := cache.New(over, c, wrappers.Settings{Clock: time.Now, Hub: over})
	if err != nil {
		t.Fatal(err)
	}
	defer top.Close(context.Background())
	for end := time.Now().Add(10 * time.Second); top.Stats().Hits == 0; time.Sleep(time.Millisecond) {
		_, _ = top.Get(t.Context(), []byte("k"))
		if time.Now().After(end) {
			t.Fatal("no hit")
		}
	}
	write(t, b, storage.Put([]byte("app/k"), []byte("v")))
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		it, err := top.Get(t.Context(), []byte("k"))
		if err == nil && string(it.Value) == "v" {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("it still has %q, %v", it.Value, err)
		}
	}
}
