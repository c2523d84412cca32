package storagetest

import (
	"time"

	"github.com/plinthkv/plinth/storage"
)

// noticeChecks returns the checks of a backend that reports that others have written, and
// not what. The others are not here: that their writes are noticed is for the backend's own
// tests.
func noticeChecks() []Check {
	checks := in("change_notice",
		is("nobody_else_writes", 0, func(t *T) {
			now := t.quiet()
			for _, after := range []uint64{now, now} { // a wait changes nothing
				begin := time.Now()
				page, err := t.b.Changes(t.ctx, storage.ChangeQuery{Start: bs("a"), End: bs("b"), After: after, Wait: 50 * time.Millisecond})
				t.must(err)
				if took := time.Since(begin); len(page.Changes) > 0 || page.Next != now || took < 50*time.Millisecond || took > soon {
					t.Errorf("no other writer has written, and after %s it is %s up to %d, want nothing up to %d", took, show(page.Changes), page.Next, now)
				}
			}
		}),
		is("own_writes", 0, func(t *T) {
			now := t.quiet()
			t.set("k", "v")
			page, err := t.b.Changes(t.ctx, storage.ChangeQuery{After: now})
			if storage.CodeOf(err) == storage.VersionGone {
				return // it may count
			}
			t.must(err)
			if len(page.Changes) > 0 || page.Next != now {
				t.Errorf("after an own write it is %s up to %d, want nothing up to %d", show(page.Changes), page.Next, now)
			}
		}),
		is("versions_that_are_not_there", 0, func(t *T) {
			now := t.quiet()
			for _, after := range []uint64{0, now - 1, now + 1, 1 << 63, ^uint64(0)} {
				_, err := t.b.Changes(t.ctx, storage.ChangeQuery{After: after, Wait: time.Minute})
				t.wantCode(err, storage.VersionGone)
			}
		}),
		is("nonsense_is_refused", 0, func(t *T) {
			now := t.quiet()
			for _, q := range []storage.ChangeQuery{{Limit: -1, After: now}, {MaxBytes: -1, After: now}, {Wait: -1, After: now}, {Wait: -time.Hour, FromNow: true}} {
				_, err := t.b.Changes(t.ctx, q)
				t.wantCode(err, storage.InvalidArgument)
			}
		}),
		is("a_caller_that_leaves", 0, func(t *T) {
			t.quiet()
			leavesAWait(t)
		}),
	)
	for i := range checks {
		checks[i].Needs |= storage.CapChangeNotice
	}
	return checks
}

// quiet returns the version of a backend without writers. One that has just begun to look may
// not be sure at first.
func (t *T) quiet() (now uint64) {
	for end := time.Now().Add(soon); time.Now().Before(end); {
		now = t.now()
		_, err := t.b.Changes(t.ctx, storage.ChangeQuery{After: now, Wait: 20 * time.Millisecond})
		if storage.CodeOf(err) != storage.VersionGone {
			t.must(err)
			return now
		}
	}
	t.Fatalf("for %s others are reported to write, and none does", soon)
	return 0
}
