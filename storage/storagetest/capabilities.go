package storagetest

import (
	"time"

	"github.com/plinthkv/plinth/storage"
)

func capabilityChecks() []Check {
	return in("capabilities",
		is("info_is_sound", 0, func(t *T) {
			if t.info.Name == "" {
				t.Errorf("the backend has no name")
			}
			t.set("k", "v")
			if again := t.b.Info(); again != t.info {
				t.Errorf("Info went from %+v to %+v", t.info, again)
			}
			l := t.info.Limits
			if l.Key < 0 || l.Value < 0 || l.Ops < 0 || l.WriteBytes < 0 || l.GetKeys < 0 || l.TTLPrecision < 0 || l.IDWindow < 0 || l.IDCount < 0 || l.Changes < 0 || l.ChangesAge < 0 {
				t.Errorf("a limit is negative: %+v", l)
			}
			for _, c := range []struct{ has, takes storage.Caps }{
				{storage.CapRangeCheck, storage.CapVersions}, {storage.CapSnapshotScan, storage.CapVersions}, {storage.CapExpiryOnRead, storage.CapTTL},
				{storage.CapChanges, storage.CapVersions},
			} {
				if t.has(c.has) && !t.has(c.takes) {
					t.Errorf("%s takes %s, which is missing", c.has, c.takes)
				}
			}
			if t.has(storage.CapChanges) && t.has(storage.CapChangeNotice) {
				t.Errorf("%s is in place of %s, and both are claimed", storage.CapChangeNotice, storage.CapChanges)
			}
		}),
		is("what_is_lacking_is_refused", 0, whatIsLackingIsRefused),
	)
}

// whatIsLackingIsRefused uses every capability that the backend does not have.
func whatIsLackingIsRefused(t *T) {
	t.setAll("a", "k")
	k, put := bs("k"), storage.Put(bs("k"), bs("changed"))
	version := []storage.Check{storage.HasVersion(k, 1)}
	between := []storage.Check{{Kind: storage.CheckRange, Key: bs("x"), Version: 1}}
	_, reverse := t.b.Scan(t.ctx, storage.Query{Reverse: true})
	_, past := t.b.Scan(t.ctx, storage.Query{AtVersion: 1})
	_, identified := t.b.Apply(t.ctx, &storage.WriteSet{ID: [16]byte{1}, Ops: []storage.Op{put}})
	_, changes := t.b.Changes(t.ctx, storage.ChangeQuery{FromNow: true})
	t.set("k", "k")
	for _, c := range []struct {
		lacks storage.Caps
		err   error
	}{
		{storage.CapReverse, reverse},
		{storage.CapSnapshotScan, past},
		{storage.CapIdempotent, identified},
		{storage.CapChanges, changes},
		{storage.CapVersions, t.try(version, put)},
		{storage.CapRangeCheck, t.try(between, put)},
		{storage.CapCheckOnly, t.try([]storage.Check{storage.Present(bs("a"))}, put)},
		{storage.CapAtomic, t.try(nil, put, storage.Put(bs("b"), nil))},
		{storage.CapTTL, t.try(nil, storage.PutUntil(k, bs("changed"), t.clock.Now().Add(time.Hour)))},
	} {
		if t.has(c.lacks) || c.lacks == storage.CapChanges && t.has(storage.CapChangeNotice) {
			continue
		}
		t.Logf("the backend does not support %s", c.lacks)
		if e := storage.AsError(c.err); storage.CodeOf(c.err) != storage.Unsupported || e.Unknown {
			t.Errorf("without %s its use ends with %v, want %s", c.lacks, c.err, storage.Unsupported)
		}
	}
	if !t.has(storage.CapVersions) {
		if v, page := t.apply(storage.Put(k, bs("k"))), t.scan(storage.Query{}); v != 0 || page.Version != 0 || t.item("k").Version != 0 {
			t.Errorf("there are no versions, and %d, %d and %d are answered", v, page.Version, t.item("k").Version)
		}
	}
	if t.has(storage.CapTTL) && !t.has(storage.CapExpiryOnRead) {
		t.setTTL("expires", "v", time.Hour)
		if at := t.item("expires").ExpiresAt; !at.IsZero() {
			t.Errorf("expiries are not answered on reads, and %s is", at)
		}
	}
}
