package storage_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// newStore returns an empty store in memory. A host's stores are used in the same way.
func newStore() *storage.Store {
	return storage.New(memory.New(memory.DefaultConfig(), sdk.Env{}), storage.Settings{})
}

// Get and Set are the short forms; Put says more.
func ExampleStore() {
	ctx, store := context.Background(), newStore()
	defer store.Close(ctx)

	if err := store.Set(ctx, []byte("hello"), []byte("world")); err != nil {
		panic(err)
	}
	value, err := store.Get(ctx, []byte("hello"))
	fmt.Printf("%s, %v\n", value, err)

	_, err = store.Get(ctx, []byte("absent"))
	fmt.Println(err, errors.Is(err, storage.ErrNotFound))
	// Output:
	// world, <nil>
	// key not found true
}

// A put may carry conditions and an expiry, and returns the version that it landed at.
func ExampleStore_Put() {
	ctx, store, key := context.Background(), newStore(), []byte("lock")
	defer store.Close(ctx)

	version, err := store.Put(ctx, key, []byte("ada"), storage.IfAbsent(), storage.WithTTL(time.Minute))
	fmt.Println("ada has it:", err == nil)

	_, err = store.Put(ctx, key, []byte("bob"), storage.IfAbsent())
	fmt.Println("bob has it:", err == nil, errors.Is(err, storage.ErrConflict))

	// Ada prolongs it, unless another client has taken it since.
	version, err = store.Put(ctx, key, []byte("ada"), storage.IfVersion(version), storage.WithTTL(time.Minute))
	fmt.Println("ada still has it:", err == nil)

	_, err = store.Remove(ctx, key, storage.IfVersion(version))
	fmt.Println("ada has let go:", err == nil)
	// Output:
	// ada has it: true
	// bob has it: false true
	// ada still has it: true
	// ada has let go: true
}

// Values as JSON, changed without losing what others write meanwhile.
func ExampleUpdateJSON() {
	ctx, store, key := context.Background(), newStore(), []byte("users/ada")
	defer store.Close(ctx)
	type user struct {
		Name   string `json:"name"`
		Visits int    `json:"visits"`
	}

	if err := storage.SetJSON(ctx, store, key, user{Name: "Ada"}); err != nil {
		panic(err)
	}
	for range 3 {
		if err := storage.UpdateJSON(ctx, store, key, func(u *user) error { u.Visits++; return nil }); err != nil {
			panic(err)
		}
	}
	ada, err := storage.GetJSON[user](ctx, store, key)
	fmt.Printf("%+v, %v\n", ada, err)
	// Output: {Name:Ada Visits:3}, <nil>
}

// A transaction reads its own writes, and commits all of them or none. It runs again if
// somebody else has changed what it read.
func ExampleStore_Update() {
	ctx, store := context.Background(), newStore()
	defer store.Close(ctx)
	ada, bob := []byte("accounts/ada"), []byte("accounts/bob")
	if err := storage.SetJSON(ctx, store, ada, 10); err != nil {
		panic(err)
	}

	err := store.Update(ctx, func(tx *storage.Txn) error {
		from, err := storage.GetJSON[int](ctx, tx, ada)
		if err != nil {
			return err
		}
		to, err := storage.GetJSON[int](ctx, tx, bob)
		if err != nil && !errors.Is(err, storage.ErrNotFound) {
			return err
		}
		return errors.Join(storage.SetJSON(ctx, tx, ada, from-3), storage.SetJSON(ctx, tx, bob, to+3))
	})
	fmt.Println(err)

	items, err := store.GetMany(ctx, [][]byte{ada, bob})
	for _, it := range items {
		fmt.Printf("%s: %s\n", it.Key, it.Value)
	}
	fmt.Println(err, items[0].Version == items[1].Version)
	// Output:
	// <nil>
	// accounts/ada: 7
	// accounts/bob: 3
	// <nil> true
}

// A range iterates in byte order; pages are read as they are needed.
func ExampleStore_Range() {
	ctx, store := context.Background(), newStore()
	defer store.Close(ctx)
	for _, key := range []string{"2026-01-31", "2026-02-01", "2026-02-14", "2026-03-01"} {
		if err := store.Set(ctx, []byte(key), nil); err != nil {
			panic(err)
		}
	}

	for it, err := range store.Range(ctx, []byte("2026-02"), []byte("2026-03"), storage.RangeOptions{KeysOnly: true}) {
		if err != nil {
			panic(err)
		}
		fmt.Printf("%s\n", it.Key)
	}
	for it, err := range store.Prefix(ctx, []byte("2026-"), storage.RangeOptions{Reverse: true, Limit: 1}) {
		if err != nil {
			panic(err)
		}
		fmt.Printf("the last is %s\n", it.Key)
	}
	// Output:
	// 2026-02-01
	// 2026-02-14
	// the last is 2026-03-01
}
