package storage_test

import (
	"strings"
	"testing"
	"time"

	"github.com/plinthkv/plinth/storage"
)

func TestValidate(t *testing.T) {
	k, long, soon := []byte("k"), []byte("longer"), time.UnixMilli(5)
	put := storage.Put(k, nil)
	sized := storage.Limits{Key: 5, Value: 5, Ops: 3, WriteBytes: 12}
	is := func(kind storage.CheckKind) storage.Check { return storage.Check{Kind: kind, Key: k, Version: 1} }
	for _, c := range []struct {
		name   string
		w      storage.WriteSet
		caps   storage.Caps
		limits storage.Limits
		want   storage.Code
		text   string
	}{
		{"nothing at all", storage.WriteSet{}, 0, sized, storage.OK, ""},
		{"a put", storage.WriteSet{Ops: []storage.Op{put}}, 0, sized, storage.OK, ""},

		{"a long key", storage.WriteSet{Ops: []storage.Op{storage.Put(long, nil)}}, 0, sized, storage.SizeLimit, "key is 6, limit is 5"},
		{"a long key of a delete", storage.WriteSet{Ops: []storage.Op{storage.Delete(long)}}, 0, sized, storage.SizeLimit, "key is 6"},
		{"a long key of a check", storage.WriteSet{Checks: []storage.Check{storage.Absent(long)}}, 0, sized, storage.SizeLimit, "key is 6"},
		{"a long value", storage.WriteSet{Ops: []storage.Op{storage.Put(k, long)}}, 0, sized, storage.SizeLimit, "value is 6, limit is 5"},
		{"long key before long value", storage.WriteSet{Ops: []storage.Op{storage.Put(long, long)}}, 0, sized, storage.SizeLimit, "key is 6"},
		{"too many ops and checks", storage.WriteSet{Ops: []storage.Op{put, put}, Checks: []storage.Check{is(1), is(2)}}, ^storage.Caps(0), sized, storage.SizeLimit, "ops is 4, limit is 3"},
		{"too much in all", storage.WriteSet{Ops: []storage.Op{storage.Put([]byte("12345"), []byte("12345"))}, Checks: []storage.Check{{Kind: 3, Key: k, Value: []byte("12")}}}, ^storage.Caps(0), sized, storage.SizeLimit, "write set bytes is 13, limit is 12"},
		{"long bounds", storage.WriteSet{Ops: []storage.Op{storage.DeleteRange(long, long)}}, 0, sized, storage.OK, ""},
		{"a long value to compare with", storage.WriteSet{Ops: []storage.Op{put}, Checks: []storage.Check{{Kind: 3, Key: k, Value: long}}}, 0, sized, storage.OK, ""},
		{"size before sense", storage.WriteSet{Ops: []storage.Op{{Kind: 77, Key: long}}}, 0, sized, storage.SizeLimit, ""},

		{"op of kind 0", storage.WriteSet{Ops: []storage.Op{{Key: k}}}, 0, sized, storage.InvalidArgument, "op 0 has the unknown kind 0"},
		{"op of kind 4", storage.WriteSet{Ops: []storage.Op{put, {Kind: 4, Key: k}}}, ^storage.Caps(0), sized, storage.InvalidArgument, "op 1"},
		{"put with an end", storage.WriteSet{Ops: []storage.Op{{Kind: storage.OpPut, End: k}}}, 0, sized, storage.InvalidArgument, "does not use"},
		{"delete with an expiry", storage.WriteSet{Ops: []storage.Op{{Kind: storage.OpDelete, ExpiresAt: soon}}}, ^storage.Caps(0), sized, storage.InvalidArgument, "does not use"},
		{"range with a value", storage.WriteSet{Ops: []storage.Op{{Kind: storage.OpDeleteRange, Value: k}}}, 0, sized, storage.InvalidArgument, "does not use"},
		{"check of kind 0", storage.WriteSet{Checks: []storage.Check{is(0)}}, ^storage.Caps(0), sized, storage.InvalidArgument, "check 0"},
		{"check of kind 6", storage.WriteSet{Checks: []storage.Check{is(6)}}, ^storage.Caps(0), sized, storage.InvalidArgument, "check 0"},
		{"check of version 0", storage.WriteSet{Checks: []storage.Check{{Kind: storage.CheckVersion, Key: k}}}, ^storage.Caps(0), sized, storage.InvalidArgument, "version 0"},

		{"an ID", storage.WriteSet{ID: [16]byte{15: 1}}, ^storage.CapIdempotent, sized, storage.Unsupported, "IDs"},
		{"two ops", storage.WriteSet{Ops: []storage.Op{put, put}}, ^storage.CapAtomic, sized, storage.Unsupported, "several keys"},
		{"an expiry", storage.WriteSet{Ops: []storage.Op{storage.PutUntil(k, nil, soon)}}, ^storage.CapTTL, sized, storage.Unsupported, "op 0"},
		{"a check elsewhere", storage.WriteSet{Ops: []storage.Op{storage.Put([]byte("x"), nil)}, Checks: []storage.Check{is(1)}}, ^storage.CapCheckOnly, sized, storage.Unsupported, "check 0"},
		{"a check under a range delete", storage.WriteSet{Ops: []storage.Op{storage.DeleteRange(nil, nil)}, Checks: []storage.Check{is(1)}}, ^storage.CapCheckOnly, sized, storage.Unsupported, "check 0"},
		{"a check of what is written", storage.WriteSet{Ops: []storage.Op{put}, Checks: []storage.Check{is(1)}}, 0, sized, storage.OK, ""},
		{"a version check", storage.WriteSet{Ops: []storage.Op{put}, Checks: []storage.Check{is(storage.CheckVersion)}}, ^storage.CapVersions, sized, storage.Unsupported, "versions"},
		{"a range check", storage.WriteSet{Checks: []storage.Check{is(storage.CheckRange)}}, ^storage.CapRangeCheck, sized, storage.Unsupported, "range checks"},
		{"a range check without versions", storage.WriteSet{Checks: []storage.Check{is(storage.CheckRange)}}, ^storage.CapVersions, sized, storage.Unsupported, "range checks"},
		{"everything, where all of it works", storage.WriteSet{ID: [16]byte{1}, Checks: []storage.Check{is(5), is(4)}, Ops: []storage.Op{storage.PutUntil(k, k, soon)}}, ^storage.Caps(0), sized, storage.OK, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.w.Validate(&storage.Info{Caps: c.caps, Limits: c.limits})
			if storage.CodeOf(err) != c.want || err != nil && !strings.Contains(err.Error(), c.text) {
				t.Errorf("%v, want %s %q", err, c.want, c.text)
			}
		})
	}
}

// The one-op write sets of every plain verb are judged without an allocation.
func TestValidateDoesNotAllocate(t *testing.T) {
	info := able()
	info.Limits = storage.Limits{Key: 10, Value: 10, Ops: 10, WriteBytes: 100}
	w := &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte("k"), []byte("v"))}, Checks: []storage.Check{storage.Absent([]byte("k"))}}
	if n := testing.AllocsPerRun(100, func() { w.Validate(info) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestQueryValidate(t *testing.T) {
	for _, c := range []struct {
		q    storage.Query
		want storage.Code
	}{
		{storage.Query{}, storage.OK}, {storage.Query{Limit: 1, MaxBytes: 1 << 62}, storage.OK},
		{storage.Query{Limit: -1}, storage.InvalidArgument}, {storage.Query{MaxBytes: -1 << 62}, storage.InvalidArgument},
	} {
		if err := c.q.Validate(); storage.CodeOf(err) != c.want {
			t.Errorf("%+v: %v, want %s", c.q, err, c.want)
		}
	}
}
