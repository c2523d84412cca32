package memory

import (
	"context"
	"fmt"
	"testing"

	"github.com/plinthkv/plinth/storage"
)

var benchKeys = func() (k [][]byte) {
	for i := range 10_000 {
		k = append(k, fmt.Appendf(nil, "key-%012d", i*7919%10_000))
	}
	return k
}()

// What the parts of a get and a set take, for a look at where a module's time goes:
// GOOS=wasip1 GOARCH=wasm go test -c runs in any WebAssembly runtime.
func BenchmarkParts(b *testing.B) {
	m, _ := clocked(64 << 20)
	value := make([]byte, 100)
	ctx := context.Background()
	w := &storage.WriteSet{Ops: make([]storage.Op, 1)}
	set := func(i int) {
		w.Ops[0] = storage.Put(benchKeys[i], value)
		if _, err := m.Apply(ctx, w); err != nil {
			b.Fatal(err)
		}
	}
	for i := range benchKeys {
		set(i)
	}
	buf := make([]byte, 0, 1000)
	for _, part := range []struct {
		name string
		do   func(i int)
	}{
		{"nothing", func(int) {}},
		{"hash", func(i int) { m.hash(benchKeys[i]) }},
		{"find", func(i int) { m.find(benchKeys[i]) }},
		{"get", func(i int) { m.AppendGet(ctx, buf, benchKeys[i]) }},
		{"validate", func(i int) { w.Ops[0].Key = benchKeys[i]; _ = w.Validate(&m.info) }},
		{"put", func(i int) { m.put(benchKeys[i], value, 0, m.version+1) }},
		{"set", set},
	} {
		b.Run(part.name, func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if i++; i == len(benchKeys) {
					i = 0
				}
				part.do(i)
			}
		})
	}
}
