package ledger

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/plinthkv/plinth/internal/ledger/ledgerpb"
	"github.com/plinthkv/plinth/storage"
)

// losses holds what is known of acknowledged writes that the cluster has lost.
type losses struct {
	mu       sync.Mutex
	watching bool      // a goroutine asks the nodes for their heights
	telling  bool      // a goroutine reports a height that was acknowledged twice
	behind   time.Time // since when no node has what was acknowledged; zero if one has
	count    int
	text     string    // of the last loss, or "" if there was none, or it has come back
	at       time.Time // of the last that was logged
	refuses  bool      // reads are refused because of it
}

// watchLoss begins to ask the nodes whether one has the acknowledged writes, until one has,
// or until the loss is reported after election_wait.
func (b *Backend) watchLoss() { b.watch(false) }

// wentBack reports heights that were acknowledged twice: there is nothing to wait for.
func (b *Backend) wentBack() { b.watch(true) }

func (b *Backend) watch(sure bool) {
	l := &b.losses
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.watching && !sure || l.telling || l.refuses {
		return
	}
	if sure {
		l.telling = b.spawn(func() {
			b.tell(b.survey(b.life))
			l.mu.Lock()
			l.telling = false
			l.mu.Unlock()
		})
		return
	}
	l.watching, l.behind = true, time.Now()
	if !b.spawn(b.lookForLoss) {
		l.watching = false
	}
}

// Between two looks at all nodes.
const (
	leastLook = 10 * time.Millisecond
	mostLook  = time.Second
)

func (b *Backend) lookForLoss() {
	l := &b.losses
	defer func() {
		l.mu.Lock()
		l.watching, l.behind = false, time.Time{}
		l.mu.Unlock()
	}()
	begin, told := time.Now(), false
	every := min(max(b.times.election/20, leastLook), mostLook)
	for pause(b.life, every) == nil {
		s := b.survey(b.life)
		switch {
		case b.heights.twice(): // another has reported it
			return
		case s.enough:
			b.cameBack()
			return
		case !told && time.Since(begin) >= b.times.election && 2*s.answered > len(s.of):
			b.tell(s)
			if told = true; b.config.OnLoss == ContinueOnLoss {
				return
			}
			every = mostLook
		}
	}
}

// survey holds what the nodes of the configuration say of the vault's height.
type survey struct {
	of       []string // node and height, in words
	highest  uint64
	answered int
	enough   bool // one has what was acknowledged
}

// survey asks all nodes.
func (b *Backend) survey(ctx context.Context) survey {
	nodes := b.pool.all()
	type told struct {
		height uint64
		f      *failure
	}
	all := make([]told, len(nodes))
	var asking sync.WaitGroup
	for i, n := range nodes {
		asking.Go(func() { all[i].height, all[i].f = b.heightOf(ctx, n) })
	}
	asking.Wait()
	s := survey{of: make([]string, len(nodes))}
	for i, n := range nodes {
		if all[i].f != nil {
			s.of[i] = n.name + " without an answer"
			continue
		}
		s.of[i] = fmt.Sprintf("%s at %d", n.name, all[i].height)
		s.answered++
		s.highest = max(s.highest, all[i].height)
	}
	for i, n := range nodes {
		s.enough = s.enough || all[i].f == nil && b.heights.enough(n, all[i].height)
	}
	if b.heights.mark() == (mark{}) { // nothing is known yet
		b.heights.raise(s.highest)
	}
	return s
}

// heightOf asks one node.
func (b *Backend) heightOf(ctx context.Context, n *node) (uint64, *failure) {
	answer := new(ledgerpb.ReadResponse)
	request := &ledgerpb.ReadRequest{Organization: b.organization, Vault: b.vault, Key: probeKey, Consistency: consistency, Caller: b.caller}
	f := b.ask(ctx, n, b.times.read, methodRead, request, answer)
	return answer.BlockHeight, f
}

// probeKey is an entity that need not be there.
const probeKey = "00"

// tell reports to all listeners that the cluster has lost acknowledged writes.
func (b *Backend) tell(s survey) {
	if b.life.Err() != nil {
		return
	}
	l := &b.losses
	was := b.heights.mark().height
	text := fmt.Sprintf("the cluster has lost acknowledged writes: height %d was acknowledged, the nodes are: %s", was, strings.Join(s.of, ", "))
	if b.heights.twice() {
		text = fmt.Sprintf("the cluster has lost acknowledged writes: a height up to %d was acknowledged twice, the nodes are: %s", was, strings.Join(s.of, ", "))
	}
	info := *b.info.Load()
	rand.Read(info.Incarnation[:]) // caches over it flush
	b.info.Store(&info)
	l.mu.Lock()
	l.count++
	l.text, l.refuses = text, b.config.OnLoss != ContinueOnLoss
	logs := time.Since(l.at) >= b.times.election
	if logs {
		l.at = time.Now()
	}
	l.mu.Unlock()
	if logs {
		b.log.Error(text, "on_loss", b.config.OnLoss)
	}
	if b.config.OnLoss == ContinueOnLoss {
		b.heights.reset(s.highest)
	}
}

// cameBack notes that a node has what was acknowledged after all.
func (b *Backend) cameBack() {
	l := &b.losses
	l.mu.Lock()
	refused := l.refuses
	l.refuses = false
	if refused {
		l.text = ""
	}
	l.mu.Unlock()
	if refused {
		b.log.Warn("a node has again what the cluster had acknowledged: reads go on")
	}
}

// lost returns the error of reads while they are refused, or nil if they are not.
func (b *Backend) lost() error {
	l := &b.losses
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.refuses {
		return nil
	}
	return &storage.Error{Code: storage.Unavailable, Layer: layer, ConfigPath: "on_loss", Msg: l.text}
}

// describe adds to h what is known of losses.
func (l *losses) describe(h *storage.Health, incarnation [16]byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h.Details["incarnation"] = hex.EncodeToString(incarnation[:])
	if l.count > 0 {
		h.Details["losses"] = strconv.Itoa(l.count)
	}
	worse := func(s storage.Status, why string) {
		if h.Status = max(h.Status, s); h.Reason != "" {
			why += "; " + h.Reason
		}
		h.Reason = why
	}
	switch {
	case l.refuses:
		worse(storage.Unhealthy, l.text)
	case l.text != "":
		worse(storage.Degraded, l.text)
	case !l.behind.IsZero():
		worse(storage.Degraded, fmt.Sprintf("no node has had what was acknowledged for %s", time.Since(l.behind).Round(time.Second)))
	}
}

// spawn runs f until the backend is closed; Close waits for it. It returns false if the backend is closed.
func (b *Backend) spawn(f func()) bool {
	b.spawning.Lock()
	defer b.spawning.Unlock()
	if b.life.Err() != nil {
		return false
	}
	b.running.Go(f)
	return true
}
