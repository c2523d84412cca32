package storagetest_test

import (
	"context"
	"fmt"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

// fortune is a backend that has every key, which a check of the kit notices.
type fortune struct{ storage.UnimplementedBackend }

func (fortune) Info() storage.Info { return storage.Info{Name: "fortune", Version: "1"} }

func (fortune) Get(context.Context, []byte) (storage.Item, error) {
	return storage.Item{Value: []byte("42")}, nil // whatever the key
}

// In a test, Run makes a subtest of each check. Report runs them outside of "go test",
// and reports the outcome of each.
func ExampleReport() {
	clock := storagetest.NewClock()
	factory := storagetest.Factory{Clock: clock, Open: func(context.Context) (storage.Backend, error) { return fortune{}, nil }}
	failed := map[string]int{}
	err := storagetest.Report(context.Background(), factory, func(r storagetest.Result) {
		if r.Outcome == storagetest.Failed {
			failed[r.Category]++
		}
	})
	fmt.Println(err, "an absent key is found:", failed["crud"] > 0)
	// Output: <nil> an absent key is found: true
}
