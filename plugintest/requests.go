package plugintest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/storage"
)

func unknownOp(g *guest) error {
	ops := []abi.Op{0, 8, 99, 255}
	if g.module {
		ops = append(ops, abi.OpCancel)
	}
	for _, op := range ops {
		if err := g.refused(fmt.Sprintf("op %d", op), op, []byte("anything"), storage.Unsupported); err != nil {
			return err
		}
	}
	return nil
}

func unknownKinds(g *guest) error {
	probe := abi.AppendProbe(nil, 99)
	if err := g.refused("probe 99", abi.OpHealth, probe, storage.InvalidArgument); err != nil {
		return err
	}
	if !g.filled {
		return nil
	}
	op := abi.AppendWriteSet(nil, &storage.WriteSet{Ops: []storage.Op{{Kind: 99, Key: []byte("k")}}})
	check := abi.AppendWriteSet(nil, &storage.WriteSet{Checks: []storage.Check{{Kind: 99, Key: []byte("k")}}, Ops: []storage.Op{storage.Put([]byte("k"), nil)}})
	return errors.Join(
		g.refused("an op of kind 99", abi.OpApply, op, storage.InvalidArgument, storage.Unsupported),
		g.refused("a check of kind 99", abi.OpApply, check, storage.InvalidArgument, storage.Unsupported))
}

// unknownFields checks that unknown fields are skipped, which a later version may send.
func unknownFields(g *guest) error {
	if !g.filled {
		return notWritable(nil)
	}
	message := slices.Concat(abi.AppendGet(nil, known), number(1023, 5), field(1023, []byte("xy")),
		[]byte{0xf9, 0x3f, 1, 2, 3, 4, 5, 6, 7, 8}, // field 1023, 8 bytes
		[]byte{0xfd, 0x3f, 1, 2, 3, 4})             // field 1023, 4 bytes
	code, answer, err := g.one(headed(7, abi.OpGet, 0, slices.Concat(tag(200, []byte("hi")), g.now()), message))
	if err == nil {
		err = g.isKnown(code, answer)
	}
	if err != nil {
		return fmt.Errorf("a get with unknown fields and tags: %w", err)
	}
	return nil
}

// requests returns a valid one of each op. The write changes nothing that was there.
func requests() map[abi.Op][]byte {
	version := storage.Absent([]byte("no such key"))
	until := time.UnixMilli(4102444800000)
	return map[abi.Op][]byte{
		abi.OpGet:     abi.AppendGet(nil, known),
		abi.OpGetMany: abi.AppendGetMany(nil, [][]byte{known, []byte("other"), {}}),
		abi.OpScan:    abi.AppendQuery(nil, &storage.Query{Start: []byte("a"), End: []byte("z"), Limit: 10, MaxBytes: 1000, Reverse: true}),
		abi.OpApply: abi.AppendWriteSet(nil, &storage.WriteSet{ID: [16]byte{1, 2, 3}, Checks: []storage.Check{version},
			Ops: []storage.Op{storage.PutUntil([]byte("other"), []byte("other value"), until), storage.DeleteRange([]byte("x"), []byte("y"))}}),
		abi.OpHealth: abi.AppendProbe(nil, storage.Readiness),
	}
}

func cutMessages(g *guest) error {
	for op, message := range requests() {
		for n := range message {
			if _, _, err := g.ask(op, message[:n]); err != nil {
				return fmt.Errorf("%s, cut after %d of %d bytes: %w", op, n, len(message), err)
			}
		}
	}
	return nil
}

// The seed of all that is random here, so that a failure comes again.
const seed = 20261123

func randomBytes(g *guest) error {
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range 2000 {
		message := make([]byte, r.IntN(64))
		for n := range message {
			message[n] = byte(r.Uint32())
		}
		op := abi.Op(1 + r.IntN(5))
		if op == abi.OpApply {
			continue // which might remove what is looked at afterwards
		}
		if _, _, err := g.ask(op, message); err != nil {
			return fmt.Errorf("%s of the random bytes % x (%d): %w", op, message, i, err)
		}
	}
	return nil
}

func mutated(g *guest) error {
	r := rand.New(rand.NewPCG(seed, 2))
	valid := requests()
	for i := range 4000 {
		op := abi.Op(1 + r.IntN(5))
		message := append([]byte{}, valid[op]...)
		for range 1 + r.IntN(3) {
			switch at := r.IntN(len(message) + 1); r.IntN(3) {
			case 0:
				if at < len(message) {
					message[at] = byte(r.Uint32())
				}
			case 1:
				message = slices.Insert(message, at, byte(r.Uint32()))
			case 2:
				if at < len(message) {
					message = slices.Delete(message, at, at+1)
				}
			}
		}
		if op == abi.OpApply && reaches(message, known) {
			continue
		}
		if _, _, err := g.ask(op, message); err != nil {
			return fmt.Errorf("%s of the mutated bytes % x (%d): %w", op, message, i, err)
		}
	}
	return nil
}

// reaches reports whether a mutated write set may touch key: one that cannot be
// read does nothing.
func reaches(message, key []byte) bool {
	var w storage.WriteSet
	if abi.DecodeWriteSet(message, &w) != nil {
		return false
	}
	for _, o := range w.Ops {
		if string(o.Key) == string(key) || o.Kind == storage.OpDeleteRange && storage.InRange(key, o.Key, o.End) {
			return true
		}
	}
	return false
}
