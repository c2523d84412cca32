package storagetest

import (
	"fmt"
	"time"

	"github.com/plinthkv/plinth/storage"
)

func restartChecks() []Check {
	return in("restart",
		is("state_is_kept_or_known_to_be_lost", 0, func(t *T) {
			t.setAll("a", "b", "c")
			t.del("b")
			before := t.b.Info()
			t.restart()
			after := t.b.Info()
			if t.has(storage.CapDurable) {
				t.wantKeys(nil, nil, "a", "c")
				if before.Incarnation != after.Incarnation {
					t.Errorf("the incarnation changed, and nothing was lost")
				}
				return
			}
			t.wantKeys(nil, nil)
			if before.Incarnation == after.Incarnation {
				t.Errorf("the state was lost, and the incarnation is still %x", after.Incarnation)
			}
		}),
		is("capabilities_stay", 0, func(t *T) {
			before := t.b.Info()
			t.restart()
			after := t.b.Info()
			if before.Caps != after.Caps || before.Limits != after.Limits || before.Name != after.Name {
				t.Errorf("a restart made %+v of %+v", after, before)
			}
		}),
		is("versions_stay", storage.CapDurable|storage.CapVersions, func(t *T) {
			t.setAll("a", "b")
			v := t.item("a").Version
			t.restart()
			if got := t.item("a").Version; got != v {
				t.Errorf("version %d became %d", v, got)
			}
			t.must(t.s.CompareAndSet(t.ctx, bs("a"), storage.ExpectVersion(v), bs("x")))
		}),
		is("expiry_stays", storage.CapDurable|storage.CapTTL, func(t *T) {
			t.setTTL("k", "v", time.Minute)
			t.setTTL("gone meanwhile", "v", time.Second)
			t.restart()
			t.wantValue("k", "v")
			t.wantAbsent("gone meanwhile")
			t.clock.Advance(time.Minute)
			t.wantAbsent("k")
		}),
		is("many_keys_stay", storage.CapDurable, func(t *T) {
			for i := range 500 {
				t.set(fmt.Sprintf("%03d", i), fmt.Sprint(i))
			}
			t.clear(bs("100"), bs("200"))
			t.restart()
			if n := len(t.all(storage.Query{})); n != 400 {
				t.Errorf("%d keys are left of 400", n)
			}
			t.wantValue("499", "499")
		}),
	)
}
