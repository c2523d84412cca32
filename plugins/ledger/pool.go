package ledger

import (
	"slices"
	"sync"
	"time"
)

// pool holds the nodes of the cluster as far as they are known, and what is known of them.
// It is safe for concurrent use.
type pool struct {
	dial dialer

	mu     sync.Mutex
	nodes  []*node // those of the configuration, then those that were hinted at
	leader *node   // who took the last write, or is said to lead; nil if not known
	next   int     // whose turn it is where no leader is known
	gone   []*node // no longer of the configuration, and not yet closed
	closed bool
}

// maxHinted limits how many nodes are known that the configuration does not name.
const maxHinted = 16

// newPool makes a node of each endpoint, and connects to none.
func newPool(endpoints []string, d dialer) (*pool, error) {
	p := &pool{dial: d}
	if err := p.set(endpoints); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// set makes endpoints the nodes of the configuration. Those that stay keep what is
// known of them; calls at those that go may come to their end until the next set.
func (p *pool) set(endpoints []string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	known := map[string]*node{}
	for _, n := range p.nodes {
		known[n.network+n.dial] = n
	}
	var nodes []*node
	for _, e := range endpoints {
		a, err := parseEndpoint(e)
		if err != nil {
			return err
		}
		n := known[a.network+a.dial]
		if n == nil {
			if n, err = p.dial.node(a); err != nil {
				return err
			}
		}
		delete(known, a.network+a.dial)
		if n.hinted = false; !slices.Contains(nodes, n) {
			nodes = append(nodes, n)
		}
	}
	for _, n := range p.gone {
		n.close()
	}
	p.gone = nil
	for _, n := range p.nodes {
		switch {
		case known[n.network+n.dial] == nil:
		case n.hinted:
			nodes = append(nodes, n)
		default:
			p.gone = append(p.gone, n)
			if p.leader == n {
				p.leader = nil
			}
		}
	}
	p.nodes, p.next = nodes, 0
	return nil
}

func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, n := range append(p.gone, p.nodes...) {
		n.close()
	}
}

// all returns the nodes of the configuration.
func (p *pool) all() []*node {
	p.mu.Lock()
	defer p.mu.Unlock()
	var configured []*node
	for _, n := range p.nodes {
		if !n.hinted {
			configured = append(configured, n)
		}
	}
	return configured
}

// dialed returns how often a connection was made to each of the nodes.
func (p *pool) dialed() map[*node]uint32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make(map[*node]uint32, len(p.nodes))
	for _, n := range p.nodes {
		all[n] = n.dials.Load()
	}
	return all
}

// pick returns the node to ask next: the leader, else the first in turn that is well,
// else the one that has been unwell for longest. Those in tried come last. One that
// was lost is not well until it has answered: see due.
func (p *pool) pick(tried map[*node]int) *node {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if l := p.leader; l != nil && tried[l] == 0 && l.well(now) {
		return l
	}
	var best *node
	better := func(a, b *node) bool {
		if tried[a] != tried[b] {
			return tried[a] < tried[b]
		}
		if a.hinted != b.hinted {
			return b.hinted
		}
		aWell, bWell := a.well(now), b.well(now)
		if aWell || bWell {
			return aWell && !bWell
		}
		return a.notBefore.Before(b.notBefore)
	}
	for i := range p.nodes {
		if n := p.nodes[(p.next+i)%len(p.nodes)]; best == nil || better(n, best) {
			best = n
		}
	}
	return best
}

func (n *node) well(now time.Time) bool { return !n.lost && !now.Before(n.notBefore) }

// due returns the nodes that were lost, and that it is time to ask whether they answer
// again, in addition to the node that a call asks. Each must then be passed to answered or failed.
func (p *pool) due(asked *node) (due []*node) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range p.nodes {
		if n.lost && !n.probed && n != asked && !time.Now().Before(n.notBefore) {
			n.probed = true
			due = append(due, n)
		}
	}
	return due
}

// The time for which others are preferred to a node that has failed doubles from
// one failure to the other.
const (
	firstPenalty = 200 * time.Millisecond
	mostPenalty  = 10 * time.Second
)

// failed notes that a node could not be reached, or did not answer in time.
func (p *pool) failed(n *node) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n.lost, n.probed = true, false
	p.worse(n)
}

// stale notes that a node is behind.
func (p *pool) stale(n *node) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.worse(n)
}

func (p *pool) worse(n *node) {
	n.failures++
	n.notBefore = time.Now().Add(min(firstPenalty<<min(n.failures-1, 10), mostPenalty))
	if p.leader == n {
		p.leader = nil
	}
	if len(p.nodes) > 0 && p.nodes[p.next%len(p.nodes)] == n {
		p.next = (p.next + 1) % len(p.nodes)
	}
}

// notLeader notes that a node says that it does not lead.
func (p *pool) notLeader(n *node) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n.failures, n.notBefore, n.lost, n.probed = 0, time.Time{}, false, false
	if p.leader == n {
		p.leader = nil
	}
}

// answered notes that a node has answered; leads reports that it accepted a write or a
// stream of announcements, which only the leader does.
func (p *pool) answered(n *node, leads bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n.failures, n.notBefore, n.lost, n.probed = 0, time.Time{}, false, false
	if leads {
		p.leader = n
	}
}

// led reports whether a leader is known.
func (p *pool) led() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.leader != nil
}

// hint returns the node at an endpoint that another says leads, nil where there cannot
// be one: one that is no endpoint, or would be in the clear where others are not.
func (p *pool) hint(endpoint string) *node {
	a, err := parseEndpoint(endpoint)
	if err != nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	hinted := 0
	for _, n := range p.nodes {
		if n.network == a.network && n.dial == a.dial {
			if n.lost { // what it advertises may be out of our reach
				return nil
			}
			p.leader = n
			return n
		}
		if !n.hinted && n.secure && !a.secure {
			return nil
		}
		if n.hinted {
			hinted++
		}
	}
	if hinted >= maxHinted {
		p.forget()
	}
	n, err := p.dial.node(a)
	if err != nil {
		return nil
	}
	n.hinted = true
	p.nodes = append(p.nodes, n)
	p.leader = n
	return n
}

// forget drops the node that was hinted at first. Calls over it fail, and go to
// another.
func (p *pool) forget() {
	for i, n := range p.nodes {
		if n.hinted {
			n.close()
			if p.leader == n {
				p.leader = nil
			}
			p.nodes = append(p.nodes[:i:i], p.nodes[i+1:]...)
			return
		}
	}
}
