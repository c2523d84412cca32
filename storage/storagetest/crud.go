package storagetest

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/plinthkv/plinth/storage"
)

func crudChecks() []Check {
	return in("crud",
		is("get_missing_key", 0, func(t *T) {
			t.wantAbsent("missing")
			t.set("other", "v")
			t.wantAbsent("missing", "", "othe", "other\x00")
		}),
		is("set_then_get", 0, func(t *T) {
			t.set("k", "value")
			t.wantValue("k", "value")
		}),
		is("set_overwrites", 0, func(t *T) {
			t.set("k", "first")
			t.set("k", "second, and longer")
			t.wantValue("k", "second, and longer")
			t.set("k", "3")
			t.wantValue("k", "3")
		}),
		is("delete_missing_key_is_harmless", 0, func(t *T) {
			t.del("missing")
			t.set("k", "v")
			t.del("missing")
			t.wantValue("k", "v")
		}),
		is("delete_removes", 0, func(t *T) {
			t.set("k", "v")
			t.del("k")
			t.wantAbsent("k")
		}),
		is("delete_twice", 0, func(t *T) {
			t.set("k", "v")
			t.del("k")
			t.del("k")
			t.wantAbsent("k")
		}),
		is("deleted_key_is_not_found", 0, func(t *T) {
			t.set("k", "v")
			t.del("k")
			_, err := t.b.Get(t.ctx, bs("k"))
			t.wantCode(err, storage.NotFound)
			t.set("k", "again")
			t.wantValue("k", "again")
		}),
		is("keys_are_byte_distinct", 0, keysAreByteDistinct),
		is("empty_key_and_value", 0, func(t *T) {
			t.wantAbsent("")
			t.set("", "")
			t.wantValue("", "")
			t.set("", "v")
			t.set("e", "")
			t.wantValue("", "v")
			t.wantValue("e", "")
			t.wantKeys(nil, nil, "", "e")
			t.del("")
			t.wantAbsent("")
			t.wantValue("e", "")
		}),
		is("nil_key_and_value_are_empty", 0, func(t *T) {
			t.apply(storage.Put(nil, nil))
			t.wantValue("", "")
			_, err := t.b.Get(t.ctx, nil)
			t.must(err)
			items, err := t.b.GetMany(t.ctx, [][]byte{nil, {}})
			t.must(err)
			if len(items) != 2 || items[0].Value == nil {
				t.Fatalf("GetMany of the empty key twice: %d items", len(items))
			}
			t.apply(storage.Delete(nil))
			t.wantAbsent("")
		}),
		is("large_value", 0, largeValue),
		is("get_many", 0, getMany),
		is("any_bytes", 0, anyBytes),
		is("many_keys", 0, manyKeys),
	)
}

func keysAreByteDistinct(t *T) {
	keys := []string{"key", "key\x00", "key\x00\x00", "KEY", "ke", "key\xff", "\x00key", "kéy", "ke\u0301y"}
	for i, k := range keys {
		t.set(k, fmt.Sprint(i))
	}
	for i, k := range keys {
		t.wantValue(k, fmt.Sprint(i))
	}
	t.del("key")
	t.wantAbsent("key")
	for i, k := range keys[1:] {
		t.wantValue(k, fmt.Sprint(i+1))
	}
}

// largeValue is a mebibyte, or what the limit allows.
func largeValue(t *T) {
	n := 1 << 20
	if most := t.info.Limits.Value; most > 0 {
		n = min(n, most)
	}
	if most := t.info.Limits.WriteBytes; most > 0 {
		n = min(n, most-10)
	}
	large := string(bytes.Repeat([]byte{0xCD}, n))
	t.set("large", large)
	t.set("small", "v")
	t.wantValue("large", large)
	t.wantValue("small", "v")
	items := t.all(storage.Query{})
	if keysOf(items) != keyList([]string{"large", "small"}) || string(items[0].Value) != large {
		t.Fatalf("a scan does not give the large value back: %s", keysOf(items))
	}
}

func getMany(t *T) {
	t.setAll("a", "b", "c", "")
	ask := []string{"c", "missing", "a", "c", "", "b\x00", "a"}
	want := []string{"c", "a", "c", "", "a"}
	keys := make([][]byte, len(ask))
	for i, k := range ask {
		keys[i] = bs(k)
	}
	items, err := t.b.GetMany(t.ctx, keys)
	t.must(err)
	if got := keysOf(items); got != keyList(want) {
		t.Fatalf("GetMany(%q) = %s, want %q", ask, got, want)
	}
	for i, it := range items {
		if string(it.Value) != want[i] || it.Value == nil {
			t.Errorf("GetMany: the value of %q is %s", it.Key, quote(it.Value))
		}
		if own := t.item(want[i]); own.Version != it.Version || !own.ExpiresAt.Equal(it.ExpiresAt) {
			t.Errorf("GetMany and Get differ on %q: %+v and %+v", want[i], it, own)
		}
	}
	for _, none := range [][][]byte{nil, {}, {bs("x")}, {bs("x"), bs("y")}} {
		if items, err := t.b.GetMany(t.ctx, none); err != nil || len(items) != 0 {
			t.Errorf("GetMany(%q) = %d items, %v", none, len(items), err)
		}
	}
}

// anyBytes has every byte in keys and values.
func anyBytes(t *T) {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	t.set(string(every), string(every))
	t.wantValue(string(every), string(every))
	slices.Reverse(every)
	t.set("k", string(every))
	t.wantValue("k", string(every))
}

func manyKeys(t *T) {
	const n = 1000
	for i := range n {
		t.set(fmt.Sprintf("%04d", i), fmt.Sprint("v", i))
	}
	for i := 0; i < n; i += 3 {
		t.del(fmt.Sprintf("%04d", i))
	}
	items := t.all(storage.Query{})
	var want []string
	for i, k := range numbered("%04d", n) {
		if i%3 != 0 {
			want = append(want, k)
		}
	}
	t.wantItems("a scan", items, want)
	for _, it := range items {
		var i int
		fmt.Sscanf(string(it.Key), "%04d", &i)
		if string(it.Value) != fmt.Sprint("v", i) {
			t.Fatalf("%q holds %s", it.Key, quote(it.Value))
		}
	}
}
