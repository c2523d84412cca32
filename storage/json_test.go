package storage_test

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"slices"
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

// A compare goes by the raw bytes or the version, so that another program's encoding is
// no conflict.
func TestJSONComparesRawBytes(t *testing.T) {
	s, _ := newModel(t)
	key := []byte("k")
	theirs := "{ \"balance\" : 5, \"name\" : \"\\u003ca\\u003e\" }\n"
	must(t, s.Set(t.Context(), key, []byte(theirs)))
	for _, kv := range []storage.KV{s, s.Begin(storage.ReadCommitted)} {
		if a, err := storage.GetJSON[account](t.Context(), kv, key); err != nil || a.Name != "<a>" || a.Balance != 5 {
			t.Errorf("%+v, %v", a, err)
		}
	}
	raw, err := s.Get(t.Context(), key)
	must(t, err)
	a, err := storage.DecodeJSON[account](raw)
	must(t, err)
	again, err := storage.EncodeJSON(a)
	must(t, err)
	a.Balance++
	wantCode(t, errOf(storage.PutJSON(t.Context(), s, key, a, storage.IfValue(again))), storage.Conflict)
	must(t, errOf(storage.PutJSON(t.Context(), s, key, a, storage.IfValue(raw))))
	wantValue(t, s, "k", `{"name":"<a>","balance":6}`)
	must(t, storage.SetJSON(t.Context(), s, key, []int{1, 2}))
	wantValue(t, s, "k", "[1,2]")
}

func TestJSONErrors(t *testing.T) {
	s, _ := newModel(t)
	_, err := storage.GetJSON[account](t.Context(), s, []byte("absent"))
	wantCode(t, err, storage.NotFound)
	for _, stored := range []string{"", "{", `{"name":5}`, `{"name":"secret"} x`, `{"balance":271828.1828}`, "\xff"} {
		must(t, s.Set(t.Context(), []byte("k"), []byte(stored)))
		a, err := storage.GetJSON[account](t.Context(), s, []byte("k"))
		wantCode(t, err, storage.Serialization)
		if a.Name != "" {
			t.Errorf("%+v is left of %q", a, stored)
		}
		if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "1828") {
			t.Errorf("the error holds the value: %v", err)
		}
		var syntax *json.SyntaxError
		var kind *json.UnmarshalTypeError
		if !errors.As(err, &syntax) && !errors.As(err, &kind) {
			t.Errorf("the decoder's error is lost: %v", err)
		}
	}
	wantCode(t, storage.SetJSON(t.Context(), s, []byte("k"), math.NaN()), storage.Serialization)
	wantCode(t, errOf(storage.PutJSON(t.Context(), s, []byte("k"), math.NaN(), storage.IfPresent())), storage.Serialization)
	wantCode(t, storage.UpdateJSON(t.Context(), s, []byte("k"), func(*account) error { return nil }), storage.Serialization)
}

// UpdateJSON stores what fn makes of the value, and runs it again on what another writer
// left meanwhile.
func TestUpdateJSON(t *testing.T) {
	s, _ := newModel(t)
	key := []byte("k")
	tries := 0
	add := func(a *account) error {
		if tries++; tries == 2 {
			must(t, s.Set(t.Context(), key, []byte(`{"name":"theirs","balance":40}`)))
		}
		a.Balance++
		return nil
	}
	must(t, storage.UpdateJSON(t.Context(), s, key, add)) // of an absent key
	wantValue(t, s, "k", `{"name":"","balance":1}`)
	must(t, storage.UpdateJSON(t.Context(), s, key, add))
	wantValue(t, s, "k", `{"name":"theirs","balance":41}`)
	if tries != 3 {
		t.Errorf("fn ran %d times, want 3", tries)
	}
	embedded := struct{ *storage.Store }{s} // as a host's are
	tries = 1
	must(t, storage.UpdateJSON(t.Context(), embedded, key, add))
	wantValue(t, s, "k", `{"name":"theirs","balance":41}`)
	must(t, s.Update(t.Context(), func(tx *storage.Txn) error {
		half := func(a *account) error { a.Balance /= 2; return nil }
		return errors.Join(storage.UpdateJSON(t.Context(), tx, key, half), storage.UpdateJSON(t.Context(), tx, key, half))
	}))
	wantValue(t, s, "k", `{"name":"theirs","balance":10}`)
	must(t, s.Set(t.Context(), key, []byte(`{"name":"theirs","balance":41}`)))
	enough := errors.New("enough")
	if err := storage.UpdateJSON(t.Context(), s, key, func(a *account) error { a.Balance = 0; return enough }); err != enough {
		t.Errorf("an error of fn is %v", err)
	}
	wantValue(t, s, "k", `{"name":"theirs","balance":41}`)
}

// TestStoreAndTxnHaveTheSameVerbs compares the two by name: KV holds what they share.
func TestStoreAndTxnHaveTheSameVerbs(t *testing.T) {
	whole := []string{"Apply", "Backend", "Begin", "Changes", "Close", "Health", "Info", "NewBatchWriter", "Now", "Update", "UpdateIn"} // what is of the store as a whole
	ends := []string{"Commit", "Rollback"}
	names := func(of reflect.Type, without []string) (all []string) {
		for m := range of.Methods() {
			if !slices.Contains(without, m.Name) {
				all = append(all, m.Name)
			}
		}
		return all
	}
	kv := names(reflect.TypeFor[storage.KV](), nil)
	if store := names(reflect.TypeFor[*storage.Store](), whole); !slices.Equal(store, kv) {
		t.Errorf("a store has %v, KV %v", store, kv)
	}
	if txn := names(reflect.TypeFor[*storage.Txn](), ends); !slices.Equal(txn, kv) {
		t.Errorf("a transaction has %v, KV %v", txn, kv)
	}
}
