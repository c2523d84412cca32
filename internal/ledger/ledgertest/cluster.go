package ledgertest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/plinthkv/plinth/internal/ledger/ledgerpb"
	"github.com/plinthkv/plinth/internal/ledger/verify"
)

// Options configure a cluster. The zero value is one node with every quirk, an organization
// and a vault.
type Options struct {
	Nodes  int              // by default 1
	Clock  func() time.Time // of all nodes; by default time.Now. It may go back: what has expired may then return
	Quirks *Quirks          // by default Real
	// Uninitialized starts a cluster that was never set up: it has no organization
	// and no vault until they are created.
	Uninitialized bool
	// Addresses lists where the nodes listen. Those that it does not name listen on
	// "127.0.0.1:0".
	Addresses []string
}

// The slugs of what a cluster has from the start: two organizations with a vault
// each, and a third vault of the first.
const (
	Organization      uint64 = 270_000_000_000_000_001
	Vault             uint64 = 270_000_000_000_000_002
	OtherOrganization uint64 = 270_000_000_000_000_003
	OtherVault        uint64 = 270_000_000_000_000_004
	SecondVault       uint64 = 270_000_000_000_000_005
	User              uint64 = 270_000_000_000_000_006
)

// Region names the region of all vaults.
const Region = "us-east-va"

// Cluster has nodes with a common state. It is safe for concurrent use.
type Cluster struct {
	quirks   Quirks
	clock    func() time.Time
	nodes    []*Node
	handlers map[string]handler

	mu            sync.Mutex
	initialized   bool
	leader, term  int
	collected     time.Time                 // when the last collection was
	organizations map[uint64]int64          // slug → id
	slugs         map[uint64]verify.IDs     // of vaults, whatever their organization
	vaults        map[verify.IDs]*vault     // state
	names         map[verify.IDs]uint64     // id → slug of vaults
	clients       map[clientName]*lastWrite // what every node knows of clients
	known         map[knownName]*knownWrite // what leaders remember
	oldest        []knownName
	regions       map[string]bool
	onboarding    map[string]string // e-mail → code
	registered    map[string]bool
	hooks         Hooks
	bare          bool                  // the last refusal of a follower had no endpoint
	forgot        bool                  // the one node has lost its organizations
	checkpoint    map[verify.IDs]*vault // see Checkpoint
	watches       map[*watch]struct{}
	writing       atomic.Int64 // writes that are under way
}

// Hooks, if set, are called by handlers, without a lock.
type Hooks struct {
	// Before receives each request. Its error becomes the response.
	Before func(ctx context.Context, n *Node, method string) error
	// After runs after a request was executed and before its response is sent.
	After func(ctx context.Context, n *Node, method string) error
}

// clientName is a client of a vault.
type clientName struct {
	ids verify.IDs
	id  string
}

// lastWrite is the last write of a client, as every node knows it.
type lastWrite struct {
	key      string
	payload  verify.Hash
	at       time.Time
	sequence uint64
	height   uint64
}

// Start starts a cluster whose first node leads. The caller closes it.
func Start(o Options) (*Cluster, error) {
	c := &Cluster{quirks: Real(), handlers: handlers(), clock: o.Clock, initialized: !o.Uninitialized, term: 1,
		organizations: map[uint64]int64{}, slugs: map[uint64]verify.IDs{}, vaults: map[verify.IDs]*vault{}, names: map[verify.IDs]uint64{},
		clients: map[clientName]*lastWrite{}, known: map[knownName]*knownWrite{}, regions: map[string]bool{}, onboarding: map[string]string{}, registered: map[string]bool{}, watches: map[*watch]struct{}{}}
	if o.Quirks != nil {
		c.quirks = *o.Quirks
	}
	if c.clock == nil {
		c.clock = time.Now
	}
	c.collected = c.clock()
	if c.initialized {
		c.addVault(Organization, Vault)
		c.addVault(OtherOrganization, OtherVault)
		c.addVault(Organization, SecondVault)
	}
	for i := range max(o.Nodes, 1) {
		address := "127.0.0.1:0"
		if i < len(o.Addresses) {
			address = o.Addresses[i]
		}
		n := &Node{c: c, id: uint64(i + 1), address: address}
		if err := n.start(); err != nil {
			return nil, errors.Join(err, c.Close())
		}
		c.nodes = append(c.nodes, n)
	}
	return c, nil
}

// addVault makes a vault, and its organization where that is new. Vaults are
// numbered from 1 in each organization.
func (c *Cluster) addVault(organization, slug uint64) verify.IDs {
	if _, ok := c.organizations[organization]; !ok {
		c.organizations[organization] = int64(len(c.organizations) + 1)
	}
	ids := verify.IDs{Organization: c.organizations[organization], Vault: 1}
	for c.vaults[ids] != nil {
		ids.Vault++
	}
	c.slugs[slug], c.names[ids], c.vaults[ids] = ids, slug, newVault(ids)
	return ids
}

// Close stops all nodes.
func (c *Cluster) Close() error {
	var errs []error
	for _, n := range c.nodes {
		errs = append(errs, n.Stop())
	}
	return errors.Join(errs...)
}

// Endpoints returns the endpoints of the nodes.
func (c *Cluster) Endpoints() []string {
	var all []string
	for _, n := range c.nodes {
		all = append(all, n.Endpoint())
	}
	return all
}

// Node returns the node with the given index.
func (c *Cluster) Node(i int) *Node { return c.nodes[i] }

// Leader returns the index of the leader.
func (c *Cluster) Leader() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leader
}

// Lead makes a node the leader, in a new term.
func (c *Cluster) Lead(i int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leader = i
	c.term++
}

// Hook sets what handlers call.
func (c *Cluster) Hook(h Hooks) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hooks = h
}

func (c *Cluster) hook() Hooks {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hooks
}

// tick collects what has expired, where it is time to.
func (c *Cluster) tick() {
	if !c.quirks.Collection {
		return
	}
	for now, n := c.clock(), 0; now.Sub(c.collected) >= CollectEvery; n++ {
		c.collected = c.collected.Add(CollectEvery)
		if n > 20 { // a clock that has jumped
			c.collected = now
		}
		for _, v := range c.vaults {
			v.collect(c.collected)
		}
	}
}

// Stored returns the entities of a vault as they are stored, including expired ones and the
// server's own.
func (c *Cluster) Stored(slug uint64) []*ledgerpb.Entity {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.vaults[c.slugs[slug]].all(true)
}

// Drop forgets a block, as the server does with those of writes that it took
// together.
func (c *Cluster) Drop(slug, height uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.vaults[c.slugs[slug]].blocks, height)
}

// Tamper changes a block as change says.
func (c *Cluster) Tamper(slug, height uint64, change func(*ledgerpb.Block)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.vaults[c.slugs[slug]].blocks[height]
	if b == nil {
		return fmt.Errorf("there is no block %d", height)
	}
	change(b)
	return nil
}
