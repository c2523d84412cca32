package ledger

import (
	"context"
	"slices"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/plinthkv/plinth/internal/ledger/ledgerpb"
	"github.com/plinthkv/plinth/storage"
)

// lister goes through the entities of prefixes, all pages at one node: a token of
// one means nothing to another.
type lister struct {
	b       *Backend
	node    *node
	reading ledgerpb.ReadConsistency
	now     time.Time
	calls   int    // requests with an answer
	height  uint64 // of the first answer
	least   mark   // what the vault's height was before
	turn    uint64 // of the last put that was done before
	raw     bool   // any answer is good enough: the node is looked at by itself
	torn    bool   // a later answer had another height: the vault has changed in between
}

// restarts limits how often a scan begins again, at another node where one has failed.
const restarts = 5

// views limits how often a scan is done again to see the vault at one moment. A vault that
// changes all the time gives a scan of several requests none.
const views = 3

// listed runs do, which goes through whatever it needs with the lister, until it
// has come to its end at one node, and at one height of the vault if there is such
// a moment.
func (b *Backend) listed(ctx context.Context, op string, c ledgerpb.ReadConsistency, do func(context.Context, *lister) *failure) error {
	whole, cancel := context.WithTimeout(ctx, b.times.list)
	defer cancel()
	t := b.tries()
	refused, least := 0, b.heights.mark()
	for view := 1; ; {
		if err := b.lost(); err != nil {
			return named(op, err)
		}
		l := &lister{b: b, node: t.node(whole), reading: c, now: b.clock.Now(), least: least, turn: b.known.now()}
		f := do(whole, l)
		switch {
		case (f == nil && l.torn || f != nil && f.cutShort) && view < views:
			view++
			t.next, t.tried = l.node, map[*node]int{}
			continue
		case f == nil:
			b.pool.answered(l.node, false)
			return nil
		case f.Code == codes.InvalidArgument && l.calls > 0 && refused < restarts: // the token: the node is another one now
			refused++
			t.next = l.node
			continue
		}
		if t.n >= restarts && !t.patient || !t.again(whole, l.node, f) {
			return b.ended(ctx, whole, op, t.reasonOf(f))
		}
	}
}

// each calls each with the live items whose entities begin with prefix, in no order, until
// it returns false. The callee owns the bytes.
func (l *lister) each(ctx context.Context, prefix string, each func(key, value []byte) bool) *failure {
	return l.entities(ctx, prefix, func(e *ledgerpb.Entity) bool {
		key, ok := rawKey(e.Key)
		if !ok {
			l.b.foreign.Do(func() { l.b.log.Warn("the vault holds entities that are no keys of this backend: they are left out") })
			return true
		}
		return expired(e, l.now) || each(key, e.Value)
	})
}

// entities calls each with the entities that begin with prefix, expired ones included, until
// it returns false.
func (l *lister) entities(ctx context.Context, prefix string, each func(*ledgerpb.Entity) bool) *failure {
	b := l.b
	request := &ledgerpb.ListEntitiesRequest{Organization: b.organization, Vault: b.vault, Caller: b.caller, KeyPrefix: prefix,
		Consistency: l.reading, IncludeExpired: true} // a server that leaves out the expired ends pages, and lists, too early
	answer := new(ledgerpb.ListEntitiesResponse)
	for {
		request.Limit = uint32(min(b.page.Load(), 1<<31))
		f := b.ask(ctx, l.node, b.times.list, methodListEntities, request, answer)
		if f != nil && f.tooLarge() && request.Limit > 1 {
			b.page.Store(int64(request.Limit+1) / 2)
			continue
		}
		if f == nil && !l.raw {
			f = b.stale(ctx, l.node, l.reading, answer, l.least)
		}
		if f != nil {
			return f
		}
		l.calls++
		if l.calls == 1 {
			l.height = answer.BlockHeight
		}
		l.torn = l.torn || l.height != answer.BlockHeight
		for _, e := range answer.Entities {
			if !each(e) {
				return nil
			}
		}
		if answer.NextPageToken == "" {
			return nil
		}
		request.PageToken = answer.NextPageToken
	}
}

// expired reports whether an entity has ended: equality counts.
func expired(e *ledgerpb.Entity, now time.Time) bool {
	at := e.GetExpiresAt()
	return at != 0 && (now.Unix() >= 0 && at <= uint64(now.Unix()))
}

// live returns the keys that are there in ranges, in no order; most is more than which
// is a RangeLimit. l sees the vault at the same moment for all of them if it can.
func (b *Backend) live(ctx context.Context, op string, ranges []storage.Op, most int) (keys [][]byte, err error) {
	var over bool
	err = b.listed(ctx, op, consistency, func(ctx context.Context, l *lister) *failure {
		keys, over = nil, false
		for _, r := range ranges {
			for _, p := range cover(r.Key, r.End) {
				f := l.each(ctx, p.prefix, func(key, _ []byte) bool {
					if storage.InRange(key, r.Key, r.End) {
						keys = append(keys, key)
					}
					over = len(keys) > most
					return !over
				})
				if f != nil || over {
					return f
				}
			}
		}
		listed := make(map[string]bool, len(keys))
		for _, key := range keys {
			listed[string(key)] = true
		}
		return l.whole(ctx, func(key []byte) bool {
			return slices.ContainsFunc(ranges, func(r storage.Op) bool { return storage.InRange(key, r.Key, r.End) })
		}, listed)
	})
	return keys, err
}
