package ledger

import (
	"context"
	"sync"

	"google.golang.org/grpc/codes"

	"github.com/plinthkv/plinth/internal/ledger/ledgerpb"
	"github.com/plinthkv/plinth/storage"
)

// maxKnown limits how many keys are remembered: with those of 512 bytes some 3 MB.
const maxKnown = 4096

// known holds keys that this backend has put last, without an expiry, and has not deleted
// since. The server's lists end at a page that deletes have emptied: a list without one
// of these, which a read then finds, is not whole. The zero value is ready for use.
type known struct {
	mu   sync.Mutex
	turn uint64 // of the last put
	put  map[string]uint64
	ring []string // of puts, the oldest at next once it is full
	next int
}

// wrote notes what became of the keys of a write: done, or not known.
func (k *known) wrote(steps []step, done bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.put == nil {
		k.put = map[string]uint64{}
	}
	for i := range steps {
		s := &steps[i]
		if s.remove || s.expires != 0 || !done {
			delete(k.put, string(s.key)) // its place in the ring goes by itself
			continue
		}
		key := string(s.key)
		k.turn++
		k.put[key] = k.turn
		if len(k.ring) < maxKnown {
			k.ring = append(k.ring, key)
			continue
		}
		old := k.ring[k.next]
		if k.put[old] <= k.turn-maxKnown { // it was not put again since
			delete(k.put, old)
		}
		k.ring[k.next] = key
		k.next = (k.next + 1) % maxKnown
	}
}

// now returns the turn of the last put that was done.
func (k *known) now() uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.turn
}

// missing returns keys of a range that were put by a turn, and are missing in listed.
func (k *known) missing(in func(key []byte) bool, by uint64, listed map[string]bool) (keys [][]byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for key, turn := range k.put {
		if turn <= by && !listed[key] && in([]byte(key)) {
			keys = append(keys, []byte(key))
		}
	}
	return keys
}

// forget forgets a key, unless it was put after a turn.
func (k *known) forget(key []byte, by uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.put[string(key)] <= by {
		delete(k.put, string(key))
	}
}

// whole returns the failure of a list without keys that a read of the same node finds,
// or nil if none are known.
func (l *lister) whole(ctx context.Context, in func(key []byte) bool, listed map[string]bool) *failure {
	keys := l.b.known.missing(in, l.turn, listed)
	for len(keys) > 0 {
		n := min(len(keys), maxKeys)
		request := &ledgerpb.BatchReadRequest{Organization: l.b.organization, Vault: l.b.vault, Consistency: l.reading, Caller: l.b.caller}
		for _, key := range keys[:n] {
			request.Keys = append(request.Keys, entityKey(key))
		}
		answer := new(ledgerpb.BatchReadResponse)
		if f := l.b.ask(ctx, l.node, l.b.times.list, methodBatchRead, request, answer); f != nil {
			if f.tooLarge() && n > 1 {
				keys = keys[:n/2] // some of them suffice
				continue
			}
			return f
		}
		for i, r := range answer.Results {
			if !r.Found && i < n { // another client has deleted it
				l.b.known.forget(keys[i], l.turn)
			} else if r.Found {
				f := &failure{sent: true, answered: true, cutShort: true}
				f.Endpoint, f.Code, f.Message = l.node.name, codes.DataLoss, "the list ended early"
				return f
			}
		}
		keys = keys[n:]
	}
	return nil
}

// within reports whether a key is in [start, end).
func within(start, end []byte) func([]byte) bool {
	return func(key []byte) bool { return storage.InRange(key, start, end) }
}
