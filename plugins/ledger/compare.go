package ledger

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"
	"sync"

	"github.com/plinthkv/plinth/internal/ledger/ledgerpb"
)

// Comparison holds the result of [Backend.Compare].
type Comparison struct {
	Nodes []NodeView
	// Differ lists the entities that differ between the nodes, in order, by reads of each
	// node after the lists.
	Differ []Difference
}

// NodeView describes the vault on one node.
type NodeView struct {
	Endpoint string
	Height   uint64
	Listed   int // entities
	// Unlisted counts the entities that the node returns to reads and leaves out of its list.
	Unlisted int
	Err      error // why it could not be asked; nil if it could
}

// Difference describes an entity that differs between nodes.
type Difference struct {
	Key string // raw, or the entity's name where it is not one of this backend's
	// Has holds a number for each node: 0 where the entity is absent, and the same for the
	// same value. It is -1 where the node did not answer.
	Has []int
}

type digest [sha256.Size]byte

// Compare lists the vault at every node of the configuration, each by itself, and reads
// each entity on which the lists differ from every node. A vault that is written to
// meanwhile may differ for that. Names and hashes of all entities are held in memory.
func (b *Backend) Compare(ctx context.Context) (Comparison, error) {
	if !b.calls.Enter() {
		return Comparison{}, errClosed("compare")
	}
	defer b.calls.Leave()
	nodes := b.pool.all()
	c := Comparison{Nodes: make([]NodeView, len(nodes))}
	lists := make([]map[string]digest, len(nodes))
	b.atEach(nodes, func(i int, n *node) {
		c.Nodes[i].Endpoint = n.name
		lists[i], c.Nodes[i].Height, c.Nodes[i].Err = b.listAt(ctx, n)
		c.Nodes[i].Listed = len(lists[i])
	})
	suspects := suspected(lists, c.Nodes)
	reads := make([]map[string]digest, len(nodes))
	b.atEach(nodes, func(i int, n *node) {
		if c.Nodes[i].Err == nil {
			reads[i], c.Nodes[i].Err = b.readAt(ctx, n, suspects)
		}
	})
	for _, name := range suspects {
		has, values := make([]int, len(nodes)), map[digest]int{}
		same := true
		last := -1
		for i := range nodes {
			if c.Nodes[i].Err != nil {
				has[i] = -1
				continue
			}
			if d, ok := reads[i][name]; ok {
				if values[d] == 0 {
					values[d] = len(values) + 1
				}
				has[i] = values[d]
				if _, listed := lists[i][name]; !listed {
					c.Nodes[i].Unlisted++
				}
			}
			same = same && (last < 0 || has[last] == has[i])
			last = i
		}
		if !same {
			key := name
			if raw, ok := rawKey(name); ok {
				key = string(raw)
			}
			c.Differ = append(c.Differ, Difference{key, has})
		}
	}
	slices.SortFunc(c.Differ, func(x, y Difference) int { return strings.Compare(x.Key, y.Key) })
	return c, nil
}

func (b *Backend) atEach(nodes []*node, do func(int, *node)) {
	var all sync.WaitGroup
	for i, n := range nodes {
		all.Go(func() { do(i, n) })
	}
	all.Wait()
}

// suspected returns the entities on which lists differ.
func suspected(lists []map[string]digest, nodes []NodeView) (names []string) {
	seen := map[string]bool{}
	for i := range lists {
		for name, d := range lists[i] {
			if seen[name] {
				continue
			}
			for j := range lists {
				if other, ok := lists[j][name]; nodes[j].Err == nil && (!ok || other != d) {
					seen[name] = true
					names = append(names, name)
					break
				}
			}
		}
	}
	return names
}

// listAt lists what one node has, but for the server's own.
func (b *Backend) listAt(ctx context.Context, n *node) (map[string]digest, uint64, error) {
	l := &lister{b: b, node: n, reading: ledgerpb.ReadConsistency_READ_CONSISTENCY_EVENTUAL, raw: true}
	all := map[string]digest{}
	now := b.clock.Now()
	f := l.entities(ctx, "", func(e *ledgerpb.Entity) bool {
		if !strings.HasPrefix(e.Key, "_") && !expired(e, now) {
			all[e.Key] = digestOf(e.Value)
		}
		return true
	})
	if f != nil {
		return nil, 0, f.storageError()
	}
	return all, l.height, nil
}

// digestOf returns the hash of a value: reads report no more of an entity.
func digestOf(value []byte) digest {
	var size [8]byte
	binary.BigEndian.PutUint64(size[:], uint64(len(value)))
	return sha256.Sum256(append(size[:], value...))
}

// readAt reads entities at one node.
func (b *Backend) readAt(ctx context.Context, n *node, names []string) (map[string]digest, error) {
	found := map[string]digest{}
	for size := maxKeys; len(names) > 0; {
		k := min(len(names), size)
		request := &ledgerpb.BatchReadRequest{Organization: b.organization, Vault: b.vault, Caller: b.caller, Keys: names[:k],
			Consistency: ledgerpb.ReadConsistency_READ_CONSISTENCY_EVENTUAL}
		answer := new(ledgerpb.BatchReadResponse)
		if f := b.ask(ctx, n, b.times.list, methodBatchRead, request, answer); f != nil {
			if f.tooLarge() && k > 1 {
				size = k / 2
				continue
			}
			return nil, f.storageError()
		}
		for _, r := range answer.Results {
			if r.Found {
				found[r.Key] = digestOf(r.Value)
			}
		}
		names = names[k:]
	}
	return found, nil
}
