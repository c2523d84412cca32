package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/plinthkv/plinth/examples/authz/token"
	"github.com/plinthkv/plinth/storage"
)

// atOnce runs fn n times at once and waits for all.
func atOnce(n int, fn func(i int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { fn(i) })
	}
	all.Wait()
}

// until runs fn again and again, in n goroutines, while do runs.
func until(n int, do func(), fn func(i int)) {
	var done atomic.Bool
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			for !done.Load() {
				fn(i)
			}
		})
	}
	defer all.Wait()
	defer done.Store(true) // also when do ends the test
	do()
}

// Administrators who change a record at once read it, change it, and name the version that
// they read: each change counts.
func TestLostUpdates(t *testing.T) { onEach(t, lostUpdates) }

func lostUpdates(t *testing.T, kind string) {
	w := start(t, kind, options{})
	x := w.tenant("acme-0")
	vault := x.org + "/vaults/" + strings.TrimPrefix(x.vault, "/engine/v1/vaults/")
	etag := x.admin.do(http.MethodGet, vault, nil).header.Get("ETag")
	x.admin.do(http.MethodPut, vault, map[string]string{"name": "main-0"}, "If-Match", etag).must(t, http.StatusOK)
	for path, by := range map[string]client{x.org: w.operator, vault: x.admin} {
		const each = 10
		var lost atomic.Int64 // who had to read again
		atOnce(6, func(int) {
			for n := 0; n < each; {
				was := by.do(http.MethodGet, path, nil)
				base, number, _ := strings.Cut(was.text("name"), "-")
				count, err := strconv.Atoi(number)
				if err != nil {
					t.Errorf("%v: %v", was.body, err)
					return
				}
				body := map[string]string{"name": fmt.Sprint(base, "-", count+1)}
				if path == x.org {
					body["state"] = "active"
				}
				switch a := by.do(http.MethodPut, path, body, "If-Match", was.header.Get("ETag")); a.status {
				case http.StatusOK:
					n++
				case http.StatusPreconditionFailed:
					lost.Add(1)
				default:
					t.Errorf("%d %v", a.status, a.body)
					return
				}
			}
		})
		name := by.do(http.MethodGet, path, nil).text("name")
		if _, number, _ := strings.Cut(name, "-"); number != fmt.Sprint(6*each) {
			t.Errorf("%s after %d changes", name, 6*each)
		}
		if lost.Load() == 0 {
			t.Errorf("%s: no change lost to another: the test did not race", path)
		}
	}
	w.audit()
}

// Writers, removals of subjects, renames and deletions at once leave each record with what
// finds it, at every moment: that is looked at while they run.
func TestIndexes(t *testing.T) { onEach(t, indexes) }

func indexes(t *testing.T, kind string) {
	w := start(t, kind, options{})
	x := w.tenant("acme")
	pick := func(n int) int { return rand.IntN(n) }
	some := func() tuple {
		subject := []string{"user:ada", "user:bob", "group:eng#member", "group:eng"}[pick(4)]
		return tuple{fmt.Sprint("doc:", pick(3)), []string{"viewer", "editor"}[pick(2)], subject}
	}
	relationships := func() {
		for range 40 {
			switch c := (change{Write: []tuple{some(), some()}}); pick(4) {
			case 0:
				x.engine.do(http.MethodDelete, x.vault+"/subjects/user:ada", nil).must(t, http.StatusOK)
			case 1:
				x.change(change{Delete: []tuple{some(), some(), some()}}).must(t, http.StatusOK)
			case 2:
				if c.Delete = []tuple{some()}; c.Delete[0] != c.Write[0] && c.Delete[0] != c.Write[1] {
					x.change(c).must(t, http.StatusOK)
				}
			default:
				x.change(c).must(t, http.StatusOK)
			}
		}
	}
	name := func() string { return fmt.Sprint("name-", pick(4)) }
	records := func(by client, path string, extra map[string]string) {
		for range 40 {
			list := by.do(http.MethodGet, path, nil)
			parts := strings.Split(path, "/")
			all, _ := list.body[parts[len(parts)-1]].([]any)
			if len(all) == 0 || pick(3) == 0 {
				by.do(http.MethodPost, path, map[string]string{"name": name()})
				continue
			}
			one := all[pick(len(all))].(map[string]any)
			if one["name"] == "acme" || one["name"] == "main" {
				continue
			}
			at := path + "/" + one["slug"].(string)
			etag := by.do(http.MethodGet, at, nil).header.Get("ETag")
			if pick(3) == 0 {
				by.do(http.MethodDelete, at, nil, "If-Match", etag)
				continue
			}
			body := map[string]string{"name": name()}
			for k, v := range extra {
				body[k] = v
			}
			by.do(http.MethodPut, at, body, "If-Match", etag)
		}
	}
	until(1, func() {
		atOnce(8, func(i int) {
			switch i % 4 {
			case 0:
				records(w.operator, "/control/v1/organizations", map[string]string{"state": "active"})
			case 1:
				records(x.admin, x.org+"/vaults", nil)
			default:
				relationships()
			}
		})
	}, func(int) { w.audit() })
	w.audit()
}

// audit reads one state of the whole store, and compares each record with what finds it.
func (w *world) audit() {
	var records, found []string
	for it, err := range w.store.Prefix(w.t.Context(), nil, storage.RangeOptions{Snapshot: true, PageItems: 20}) {
		if err != nil {
			w.t.Errorf("audit: %v", err)
			return
		}
		p := strings.Split(string(it.Key), "/")
		name := func() string {
			v, err := storage.DecodeJSON[map[string]any](it.Value)
			if err != nil {
				w.t.Error(err)
			}
			text, _ := v["name"].(string)
			return text
		}
		switch {
		case p[0] == "organization-names":
			found = append(found, "organization "+string(it.Value)+" "+p[1])
		case p[0] == "org" && p[2] == "organization":
			records = append(records, "organization "+p[1]+" "+name())
		case p[0] == "org" && p[2] == "vault-names":
			found = append(found, "vault "+p[1]+" "+string(it.Value)+" "+p[3])
		case p[0] == "org" && p[2] == "vaults":
			records = append(records, "vault "+p[1]+" "+p[3]+" "+name())
		case p[0] == "org" && p[2] == "relationships" && p[4] == "o":
			r := append(p[5:8:8], p[9:]...) // without the kind of its subject
			if len(r) == 5 {
				r = append(r, "")
			}
			records = append(records, "relationship "+p[1]+" "+p[3]+" "+strings.Join(r, "/"))
		case p[0] == "org" && p[2] == "relationships" && p[4] == "s":
			r := append(p[8:11:11], p[5:8]...)
			found = append(found, "relationship "+p[1]+" "+p[3]+" "+strings.Join(r, "/"))
		}
	}
	difference := map[string]int{}
	for _, r := range records {
		difference[r]++
	}
	for _, f := range found {
		difference[f]--
	}
	for r, n := range difference {
		if n != 0 {
			w.t.Errorf("audit: %s: %+d", r, n)
		}
	}
}

// A name belongs to one organization, however many are created with it at once.
func TestOneName(t *testing.T) {
	onEach(t, func(t *testing.T, kind string) {
		w := start(t, kind, options{})
		for round := range 5 {
			var created atomic.Int64
			atOnce(8, func(int) {
				switch a := w.operator.do(http.MethodPost, "/control/v1/organizations", map[string]string{"name": fmt.Sprint("acme-", round)}); a.status {
				case http.StatusCreated:
					created.Add(1)
				case http.StatusConflict:
				default:
					t.Errorf("%d %v", a.status, a.body)
				}
			})
			if created.Load() != 1 {
				t.Errorf("%d organizations have the name", created.Load())
			}
		}
		w.audit()
	})
}

// Vaults that are created at once do not exceed the quota together.
func TestQuota(t *testing.T) {
	onEach(t, func(t *testing.T, kind string) {
		x := start(t, kind, options{}).tenant("acme") // which has one
		create := func(i int) answer {
			return x.admin.do(http.MethodPost, x.org+"/vaults", map[string]string{"name": fmt.Sprint("v-", i)})
		}
		for i := range 98 {
			create(i).must(t, http.StatusCreated)
		}
		for range 8 {
			made := make(chan answer, 12)
			atOnce(12, func(i int) {
				switch a := create(100 + i); a.status {
				case http.StatusCreated:
					made <- a
				case http.StatusConflict, http.StatusServiceUnavailable: // or others were always faster
				default:
					t.Errorf("%d %v", a.status, a.body)
				}
			})
			close(made)
			if len(made) != 1 {
				t.Errorf("%d vaults were created with room for one", len(made))
			}
			for a := range made {
				x.admin.do(http.MethodDelete, a.header.Get("Location"), nil, "If-Match", a.header.Get("ETag")).must(t, http.StatusNoContent)
			}
		}
		create(200).must(t, http.StatusCreated)
		if a := create(201); a.status != http.StatusConflict || a.text("code") != "quota" {
			t.Errorf("%d %v", a.status, a.body)
		}
	})
}

// Ada is always a member of one group or the other, both of which may view: one is found
// early, the other late. A check that read the one before she moved, and the other after,
// would say no.
func TestChecksSeeOneState(t *testing.T) { onEach(t, oneState) }

func oneState(t *testing.T, kind string) {
	x := start(t, kind, options{}).tenant("acme")
	early, late := tuple{"group:early", "member", "user:ada"}, tuple{"group:late", "member", "user:ada"}
	x.change(change{Write: []tuple{early,
		{"doc:a", "viewer", "group:early#member"}, {"doc:a", "viewer", "group:way#member"},
		{"group:way", "member", "group:further#member"}, {"group:further", "member", "group:late#member"},
	}}).must(t, http.StatusOK)
	var answered, refused atomic.Int64
	until(4, func() {
		for n := 0; n < 60 || answered.Load() < 30 && n < 5000; n++ {
			x.change(change{Write: []tuple{late}, Delete: []tuple{early}}).must(t, http.StatusOK)
			x.change(change{Write: []tuple{early}, Delete: []tuple{late}}).must(t, http.StatusOK)
		}
	}, func(int) {
		switch a := x.check("doc:a", "viewer", "user:ada"); {
		case a.status == http.StatusServiceUnavailable: // she moved each time that it was tried
			refused.Add(1)
		case a.status != http.StatusOK || a.body["allowed"] != true:
			t.Errorf("%d %v", a.status, a.body)
		default:
			answered.Add(1)
		}
	})
	t.Logf("%d checks were answered, %d refused", answered.Load(), refused.Load())
	if answered.Load() < 30 {
		t.Errorf("only %d checks were answered", answered.Load())
	}
}

// When the removal of a relationship is acknowledged, no later check finds it, though
// checks of it are under way all the time. When the revocation of a key is, its tokens are
// refused.
func TestRevocationDuringChecks(t *testing.T) {
	onEach(t, func(t *testing.T, kind string) {
		w := start(t, kind, options{})
		x := w.tenant("acme")
		member := tuple{"group:eng", "member", "user:ada"}
		x.change(change{Write: []tuple{{"doc:a", "viewer", "group:eng#member"}}}).must(t, http.StatusOK)
		until(4, func() {
			for range 50 {
				x.change(change{Write: []tuple{member}}).must(t, http.StatusOK)
				if a := x.check("doc:a", "viewer", "user:ada"); a.body["allowed"] != true {
					t.Errorf("after it was written: %v", a.body)
				}
				x.change(change{Delete: []tuple{member}}).must(t, http.StatusOK)
				if a := x.check("doc:a", "viewer", "user:ada"); a.body["allowed"] != false {
					t.Errorf("after it was removed: %v", a.body)
				}
			}
		}, func(int) { x.check("doc:a", "viewer", "user:ada") })

		for round := range 40 {
			c := x
			c.engine = w.newClient(x.engine.org, token.Engine, fmt.Sprint("short-", round))
			x.admin.register(x.org, c.engine).must(t, http.StatusCreated)
			var revoked atomic.Bool
			until(4, func() {
				for round%2 == 0 && c.check("doc:a", "viewer", "user:ada").status != http.StatusOK {
				} // else it is revoked while its first reader may be at it
				x.admin.do(http.MethodPost, x.org+"/keys/engine/"+c.engine.kid+"/revoke", "{}").must(t, http.StatusNoContent)
				revoked.Store(true)
				for range 3 {
					c.check("doc:a", "viewer", "user:ada").must(t, http.StatusUnauthorized)
				}
			}, func(int) {
				late := revoked.Load()
				if a := c.check("doc:a", "viewer", "user:ada"); late && a.status != http.StatusUnauthorized {
					t.Errorf("a token of a revoked key: %d", a.status)
				}
			})
		}
	})
}

// A vault that is deleted while others write into it leaves nothing behind, whether it is
// removed in one step or in several.
func TestVaultDeletion(t *testing.T) { onEach(t, vaultDeletion) }

func vaultDeletion(t *testing.T, kind string) {
	w := start(t, kind, options{})
	x := w.tenant("acme")
	for round := range 12 {
		made := x.admin.do(http.MethodPost, x.org+"/vaults", map[string]string{"name": fmt.Sprint("v-", round)}).must(t, http.StatusCreated)
		v, at := x, made.header.Get("Location")
		v.vault = "/engine/v1/vaults/" + made.text("slug")
		if round == 0 {
			for i := range 3 {
				v.change(change{Write: tuples(500, fmt.Sprint("viewer", i))}).must(t, http.StatusOK)
			}
		}
		var written atomic.Int64
		until(4, func() {
			for written.Load() < 4 {
				runtime.Gosched()
			}
			x.admin.do(http.MethodDelete, at, nil, "If-Match", made.header.Get("ETag")).must(t, http.StatusNoContent)
		}, func(i int) {
			c := change{Write: tuples(20, fmt.Sprint("writer", i))} // which takes a while, for it has conditions
			c.If = &conditions{Absent: tuples(400, "none")}
			if a := v.change(c); a.status != http.StatusOK && a.status != http.StatusNotFound {
				t.Errorf("%d %v", a.status, a.body)
			}
			written.Add(1)
		})
		v.check("doc:1", "viewer", "user:ada").must(t, http.StatusNotFound)
		x.admin.do(http.MethodGet, at, nil).must(t, http.StatusNotFound)
		prefix := []byte("org/" + x.engine.org.String() + "/relationships/" + made.text("slug") + "/")
		for it, err := range w.store.Prefix(t.Context(), prefix, storage.RangeOptions{}) {
			t.Errorf("%s is left, %v", it.Key, err)
			break
		}
	}
	w.audit()
}

// tuples are n relationships.
func tuples(n int, relation string) (many []tuple) {
	for i := range n {
		many = append(many, tuple{fmt.Sprint("doc:", i), relation, "user:ada"})
	}
	return many
}
