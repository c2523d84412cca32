package otel

import "github.com/plinthkv/plinth/storage"

// operation names a call: db.operation.name.
type operation uint8

const (
	opGet operation = iota
	opGetMany
	opScan
	opChanges
	opSet
	opDelete
	opCompareAndSet
	opCompareAndDelete
	opClearRange
	opCommit
	opHealth

	operations
)

var operationNames = [operations]string{"get", "get_many", "scan", "changes", "set", "delete", "compare_and_set",
	"compare_and_delete", "clear_range", "commit", "health"}

// operationOf names an Apply by what an application did: everything but a single
// write is a commit.
func operationOf(w *storage.WriteSet) operation {
	if len(w.Ops) != 1 || len(w.Checks) > 1 {
		return opCommit
	}
	conditional := len(w.Checks) == 1
	switch kind := w.Ops[0].Kind; {
	case kind == storage.OpPut && conditional:
		return opCompareAndSet
	case kind == storage.OpPut:
		return opSet
	case kind == storage.OpDelete && conditional:
		return opCompareAndDelete
	case kind == storage.OpDelete:
		return opDelete
	case kind == storage.OpDeleteRange && !conditional:
		return opClearRange
	}
	return opCommit
}
