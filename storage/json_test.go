package storage_test

import (
	"math"
	"strings"
	"testing"

	"github.com/plinthkv/plinth/storage"
)

type account struct {
	Name    string         `json:"name"`
	Balance int            `json:"balance,omitempty"`
	Tags    map[string]int `json:"tags,omitempty"`
}

// What is stored is what most encoders write: compact, '<', '>' and '&' as they
// are, maps in order, and no line feed at the end.
func TestEncodeJSON(t *testing.T) {
	for _, c := range []struct {
		v    any
		want string
	}{
		{account{Name: `<a> & "b"`}, `{"name":"<a> & \"b\""}`},
		{account{Tags: map[string]int{"z": 1, "a": 2}}, `{"name":"","tags":{"a":2,"z":1}}`},
		{"a\n", `"a\n"`}, {nil, "null"}, {42, "42"}, {[]byte{1}, `"AQ=="`},
	} {
		if got, err := storage.EncodeJSON(c.v); err != nil || string(got) != c.want {
			t.Errorf("%v is %s, %v, want %s", c.v, got, err, c.want)
		}
	}
	for _, v := range []any{math.Inf(1), make(chan int), func() {}} {
		if _, err := storage.EncodeJSON(v); storage.CodeOf(err) != storage.Serialization {
			t.Errorf("%T: %v", v, err)
		}
	}
}

// The raw bytes are what a compare-and-set goes by, so that another program's
// encoding is no conflict.
func TestJSONComparesRawBytes(t *testing.T) {
	s, _ := newModel(t)
	key := []byte("k")
	theirs := "{ \"balance\" : 5, \"name\" : \"\\u003ca\\u003e\" }\n"
	must(t, s.Set(t.Context(), key, []byte(theirs)))
	for _, kv := range []storage.KV{s, s.Begin(storage.ReadCommitted)} {
		a, raw, err := storage.GetJSON[account](t.Context(), kv, key)
		must(t, err)
		if a.Name != "<a>" || a.Balance != 5 || string(raw) != theirs {
			t.Errorf("%+v from %q", a, raw)
		}
	}
	a, raw, err := storage.GetJSON[account](t.Context(), s, key)
	must(t, err)
	again, err := storage.EncodeJSON(a)
	must(t, err)
	a.Balance++
	wantCode(t, storage.CompareAndSetJSON(t.Context(), s, key, storage.ExpectValue(again), a), storage.Conflict)
	must(t, storage.CompareAndSetJSON(t.Context(), s, key, storage.ExpectValue(raw), a))
	wantValue(t, s, "k", `{"name":"<a>","balance":6}`)
	must(t, storage.SetJSON(t.Context(), s, key, []int{1, 2}))
	wantValue(t, s, "k", "[1,2]")
}

func TestJSONErrors(t *testing.T) {
	s, _ := newModel(t)
	_, _, err := storage.GetJSON[account](t.Context(), s, []byte("absent"))
	wantCode(t, err, storage.NotFound)
	for _, stored := range []string{"", "{", `{"name":5}`, `{"name":"secret"} x`, "\xff"} {
		must(t, s.Set(t.Context(), []byte("k"), []byte(stored)))
		_, raw, err := storage.GetJSON[account](t.Context(), s, []byte("k"))
		wantCode(t, err, storage.Serialization)
		if string(raw) != stored {
			t.Errorf("the bytes %q are answered as %q", stored, raw)
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("the error holds the value: %v", err)
		}
	}
	wantCode(t, storage.SetJSON(t.Context(), s, []byte("k"), math.NaN()), storage.Serialization)
	wantCode(t, storage.CompareAndSetJSON(t.Context(), s, []byte("k"), storage.ExpectPresent(), math.NaN()), storage.Serialization)
}
