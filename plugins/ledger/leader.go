package ledger

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/plinthkv/plinth/internal/ledger/ledgerpb"
)

// leaders decides when the cluster is asked who leads the preferred region.
type leaders struct {
	mu        sync.Mutex // held by the call that asks; others do without
	fresh     time.Time  // until then the last answer counts
	notBefore time.Time  // no call asks again before
	told      sync.Once  // of an answer that is none
}

// What the cluster says of how long its answer counts is kept between these, and it
// is not asked again at once.
const (
	leastLeading = time.Second
	mostLeading  = 2 * time.Minute
	askAgain     = time.Second
)

// findLeader asks a node who leads the preferred region, if one is configured and no leader
// is known, or the last answer is out of date. One call at a time asks. Without an answer it
// continues, because a node that does not lead says so.
func (b *Backend) findLeader(ctx context.Context) {
	if b.config.PreferredRegion == "" || !b.leaders.mu.TryLock() {
		return
	}
	l := &b.leaders
	defer l.mu.Unlock()
	if now := time.Now(); now.Before(l.notBefore) || now.Before(l.fresh) && b.pool.led() {
		return
	}
	n := b.pool.pick(nil)
	answer := new(ledgerpb.ResolveRegionLeaderResponse)
	f := b.ask(ctx, n, b.times.read, methodResolveLeader, &ledgerpb.ResolveRegionLeaderRequest{Region: b.config.PreferredRegion}, answer)
	now := time.Now()
	l.notBefore = now.Add(askAgain)
	switch {
	case f == nil && answer.Endpoint != "":
		l.fresh = now.Add(min(max(time.Duration(answer.TtlSeconds)*time.Second, leastLeading), mostLeading))
		b.pool.hint(answer.Endpoint)
	case f == nil: // there is no leader
	case !f.answered && ctx.Err() == nil:
		b.pool.failed(n)
	case f.Code == codes.NotFound || f.Code == codes.InvalidArgument || f.Code == codes.Unimplemented:
		l.notBefore = now.Add(mostLeading)
		l.told.Do(func() {
			b.log.Warn("the cluster does not say who leads the preferred region: it is found out otherwise", "region", b.config.PreferredRegion, "error", f.Error())
		})
	}
}
