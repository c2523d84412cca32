package wasmhost

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// A bomb is a module that is small, and of which n parts take far more to compile than they
// have bytes. Each was measured to take what cost says that it takes.
type bomb struct {
	of   func(n int) []byte
	many int // refused
	few  int // accepted, and compiled here
}

func bombs() map[string]bomb {
	vector := func(n int, part ...byte) []byte { return append(count(n), bytes.Repeat(part, n)...) }
	locals := func(n int) []byte { return append(append([]byte{1}, count(n)...), 0x7F) }
	i32s := func(n int) []byte { return vector(n, 0x7F) }
	none := []byte{0}
	plain := section(1, []byte{1, 0x60, 0, 0})
	// one is a module with one function, without parameters.
	one := func(locals []byte, code ...[]byte) []byte {
		return binaryModule(plain, section(3, []byte{1, 0}), section(10, []byte{1}, function(locals, code...)))
	}
	repeated := func(n int, part ...byte) []byte { return bytes.Repeat(part, n) }
	return map[string]bomb{
		"functions": {func(n int) []byte {
			return binaryModule(plain, section(3, vector(n, 0)), section(10, vector(n, 2, 0, 0x0B)))
		}, 8_000_000, 1000},
		"types":      {func(n int) []byte { return binaryModule(section(1, vector(n, 0x60, 0, 0))) }, 8_000_000, 1000},
		"parameters": {func(n int) []byte { return binaryModule(section(1, []byte{1, 0x60}, i32s(n), none)) }, 1001, 1000},
		"results":    {func(n int) []byte { return binaryModule(section(1, []byte{1, 0x60, 0}, i32s(n))) }, 1 << 20, 1000},
		"globals":    {func(n int) []byte { return binaryModule(section(6, vector(n, 0x7F, 0, 0x41, 0, 0x0B))) }, 13_000_000, 1000},
		"data":       {func(n int) []byte { return binaryModule(section(5, []byte{1, 0, 1}), section(11, vector(n, 1, 0))) }, 30_000_000, 1000},
		"elements":   {func(n int) []byte { return binaryModule(section(9, []byte{1, 1, 0}, vector(n, 0))) }, 40_000_000, 0},
		"locals": {func(n int) []byte {
			return binaryModule(plain, section(3, vector(n, 0)), section(10, vector(n, function(locals(50_000))...)))
		}, 10_000, 10},
		"locals of one": {func(n int) []byte { return one(locals(n)) }, 1 << 30, 50_000},
		"straight code": {func(n int) []byte { return one(none, repeated(n, 0x41, 0, 0x1A)) }, 1_000_000, 10_000},
		"values alive": {func(n int) []byte {
			return binaryModule(plain, section(3, []byte{1, 0}), section(5, []byte{1, 0, 1}), section(10, []byte{1},
				function(none, repeated(n, 0x41, 0, 0x28, 2, 0), repeated(n-1, 0x6A), []byte{0x1A})))
		}, 500_000, 5000},
		"branches":        {func(n int) []byte { return one(locals(100), repeated(n, 0x03, 0x40, 0x20, 0, 0x21, 1, 0x0B)) }, 100_000, 500},
		"locals×branches": {func(n int) []byte { return one(locals(n), repeated(n, 0x03, 0x40), repeated(n, 0x0B)) }, 5000, 100},
		"targets":         {func(n int) []byte { return one(none, []byte{0x41, 0, 0x0E}, vector(n, 0), []byte{0}) }, 200_000, 1000},
		"calls×results": {func(n int) []byte {
			return binaryModule(section(1, []byte{2, 0x60, 0, 0, 0x60, 0}, i32s(1000)), section(3, []byte{2, 0, 1}),
				section(10, []byte{2}, function(none, repeated(n, 0x10, 1), []byte{0x00}), function(none, repeated(1000, 0x41, 0))))
		}, 10_000, 20},
		"parameters×types": {func(n int) []byte {
			return binaryModule(section(1, count(n), bytes.Repeat(join([]byte{0x60}, i32s(500), none), n)))
		}, 20_000, 10},
		"imports": {func(n int) []byte { return binaryModule(plain, section(2, vector(n, 0, 0, 0, 0))) }, 2_000_000, 0},
		"parameters×functions": {func(n int) []byte {
			return binaryModule(section(1, []byte{1, 0x60}, i32s(1000), none), section(3, vector(n, 0)), section(10, vector(n, 2, 0, 0x0B)))
		}, 200_000, 10},
	}
}

func count(n int) []byte { return binary.AppendUvarint(nil, uint64(n)) }

func sizedPart(parts ...[]byte) []byte {
	b := join(parts...)
	return append(count(len(b)), b...)
}

func section(id byte, parts ...[]byte) []byte { return append([]byte{id}, sizedPart(parts...)...) }

func function(locals []byte, code ...[]byte) []byte {
	return sizedPart(locals, join(code...), []byte{0x0B})
}

func binaryModule(sections ...[]byte) []byte {
	return append([]byte("\x00asm\x01\x00\x00\x00"), join(sections...)...)
}

func TestBombsAreRefused(t *testing.T) {
	for name, b := range bombs() {
		t.Run(name, func(t *testing.T) {
			module := b.of(b.many)
			if len(module) > MaxModule {
				t.Fatalf("%d bytes: too many for a module anyway", len(module))
			}
			for _, interruptible := range []bool{true, false} {
				if _, err := guard(module, interruptible, true); storage.AsError(err) == nil || storage.AsError(err).Limit.Kind == "" {
					t.Errorf("%d bytes (interruptible %v): %v, want that a limit is exceeded", len(module), interruptible, err)
				}
			}
			if b.few == 0 || testing.Short() { // with a limit of its own, or the race detector compiles for long
				return
			}
			module = b.of(b.few)
			guarded, err := guard(module, true, true)
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			e, err := compile(context.Background(), guarded, &Options{Memory: 1 << 20}, "")
			if err != nil {
				t.Fatalf("%d parts: %v", b.few, err)
			}
			if err := e.close(context.Background()); err != nil {
				t.Error(err)
			}
			t.Logf("%d parts, %d bytes: compiled in %v", b.few, len(module), time.Since(start))
		})
	}
}

// No sum of large numbers becomes a small one.
func TestCostSaturates(t *testing.T) {
	for _, of := range []func(c *cost){
		func(c *cost) { c.body(1<<26, 1<<62, 1<<26, 1<<26) },
		func(c *cost) { c.signature(1 << 62) },
		func(c *cost) { c.signature(1000); c.body(1<<26, 1<<32, 1<<26, 1<<26) },
		func(c *cost) { c.section(3, 1<<32-1) },
		func(c *cost) {
			for range 1 << 16 {
				c.body(100, 1<<40, 50, 50)
			}
		},
	} {
		c := &cost{}
		if of(c); c.check() == nil {
			t.Errorf("%s is accepted", fmt.Sprintf("%+v", *c))
		}
	}
}
