package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/plinthkv/plinth/storage"
)

// bulkOps is how many records one write set of a bulk import holds.
const bulkOps = 1000

// apply takes a write set.
type apply func(context.Context, *storage.WriteSet) (uint64, error)

// imports puts records through a batch writer; one operation is one record.
func imports(to apply) func(*testing.B) {
	return func(b *testing.B) {
		ctx := context.Background()
		w := storage.NewBatchWriter(to, storage.Limits{}, storage.BatchOptions{MaxOps: bulkOps, MaxBytes: 1 << 20})
		for i := 0; b.Loop(); i++ {
			if err := w.Put(ctx, keys[i%keyCount], value); err != nil {
				b.Fatal(err)
			}
		}
		if err := w.Close(ctx); err != nil {
			b.Fatal(err)
		}
	}
}

// post applies to a store served over HTTP, as "plinth import" asks for it.
func (w *web) post(ctx context.Context, set *storage.WriteSet) (uint64, error) {
	type op struct {
		Op    string `json:"op"`
		Key   string `json:"key"`
		Value []byte `json:"value64"`
	}
	var body struct {
		Ops []op `json:"ops"`
	}
	for i := range set.Ops {
		body.Ops = append(body.Ops, op{"put", string(set.Ops[i].Key), set.Ops[i].Value})
	}
	sent, err := json.Marshal(body)
	if err != nil {
		return 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(w.store, "keys/")+"apply", bytes.NewReader(sent))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := w.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("status %d", res.StatusCode)
	}
	_, err = io.Copy(io.Discard, res.Body)
	return 0, err
}

// bulkRows returns a bulk import by every way in, next to the same write sets applied to
// the memory backend linked in.
func bulkRows(native, module storage.Backend, w *web, r *rpc) []*row {
	const work, floor = "bulk import, per record", "memory, native"
	return []*row{
		{work: work, subject: floor, floor: floor, run: imports(native.Apply)},
		{work: work, subject: "memory as WASM", floor: floor, run: imports(module.Apply)},
		{work: work, subject: "memory as WASM, over gRPC", floor: floor, run: imports(r.bulk.Apply)},
		{work: work, subject: "memory as WASM, over HTTP", floor: floor, run: imports(w.post)},
	}
}
