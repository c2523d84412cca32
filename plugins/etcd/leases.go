package etcd

import (
	"context"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/plinthkv/plinth/storage"
)

// mostLeases is how many leases a backend keeps in use, about: others are granted anew.
// leaseKeys is how many keys it puts under one: what expires together is collected by the
// cluster in one step.
const (
	mostLeases = 1024
	leaseKeys  = 10_000
)

// mostTTL limits the TTL of a lease, in seconds.
const mostTTL = 9_000_000_000

// leases holds the leases of keys that expire: one for all whose deadlines lie in the same
// span, an eighth of the time until then. They only collect: none ends before the items
// under it have expired by the host's clock, as far as that is to be trusted.
type leases struct {
	b      *Backend
	client pb.LeaseClient

	mu    sync.Mutex
	known map[span]*lease
}

// span is the deadlines that share a lease: those up to end, in ms, of that width.
type span struct{ width, end int64 }

type lease struct {
	granted chan struct{} // closed when it is, or is not
	err     error         // why it is not
	id      int64
	at      time.Time // when it was asked for
	ttl     time.Duration
	keys    int // under it
}

func (l *leases) init(b *Backend) {
	l.b, l.client, l.known = b, pb.NewLeaseClient(b.client.ActiveConnection()), map[span]*lease{}
}

// until returns a lease for a key whose item expires at a time in ms, from now on.
func (l *leases) until(ctx context.Context, at, now int64) (*lease, error) {
	s := spanOf(at, now)
	need := l.kept(at - now)
	l.mu.Lock()
	is := l.known[s]
	if is != nil {
		select {
		case <-is.granted:
			if is.err != nil || is.keys >= leaseKeys || is.left() < need {
				is = nil
			}
		default:
		}
	}
	if is == nil {
		is = &lease{granted: make(chan struct{}), at: time.Now(), ttl: l.kept(s.end-now) + time.Second}
		l.makeRoom()
		l.known[s] = is
		l.b.ended.Go(func() { l.grant(is) })
	}
	is.keys++
	l.mu.Unlock()
	select {
	case <-is.granted:
		return is, is.err
	case <-ctx.Done():
		return nil, storage.ContextError(ctx)
	}
}

// spanOf returns where a deadline belongs.
func spanOf(at, now int64) span {
	width := int64(8 << 10)
	for width*8 < at-now {
		width *= 2
	}
	return span{width, (at + width - 1) / width * width}
}

// kept returns how long the cluster keeps what expires in so many ms. A clock that was set back
// goes at 7/8 of its speed until it is right again; others may be behind.
func (l *leases) kept(ms int64) time.Duration {
	const most = mostTTL * int64(time.Second/time.Millisecond)
	ms = min(max(ms, 0), most)
	ms += min(ms, most)/4 + time.Duration(l.b.config.Grace).Milliseconds()
	return time.Duration(min(ms, most)) * time.Millisecond
}

// left returns how long the lease has, at least. The machine may have slept, which only one of
// the two clocks knows.
func (l *lease) left() time.Duration {
	now := time.Now()
	return l.ttl - max(now.Sub(l.at), now.Round(0).Sub(l.at.Round(0)))
}

// makeRoom lets go of leases that are over, or of any.
func (l *leases) makeRoom() {
	if len(l.known) < mostLeases {
		return
	}
	for s, is := range l.known {
		if is.left() <= 0 {
			delete(l.known, s)
		}
	}
	for s := range l.known {
		if len(l.known) < mostLeases {
			return
		}
		delete(l.known, s)
	}
}

// forget has none of the leases used any more: one was not there.
func (l *leases) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.known)
}

// grant asks for a lease, for whoever waits. A lease that is granted and not known of ends
// by itself.
func (l *leases) grant(is *lease) {
	defer close(is.granted)
	t := l.b.begin(context.Background(), time.Duration(l.b.config.Timeouts.Write))
	seconds := int64((is.ttl + time.Second - 1) / time.Second)
	for {
		ctx, cancel := t.attempt(false)
		answer, err := l.client.LeaseGrant(ctx, &pb.LeaseGrantRequest{TTL: min(seconds, mostTTL)})
		cancel()
		again, err := t.answered(answer.GetHeader(), err)
		if !again {
			is.id, is.err = answer.GetID(), err
			return
		}
	}
}
