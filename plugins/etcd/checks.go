package etcd

import (
	"context"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"

	"github.com/plinthkv/plinth/storage"
)

// state is what the keys of a write set's checks held at a revision. A check that held then
// holds as long as they do.
type state struct {
	revision int64
	keys     []*mvccpb.KeyValue // of each check; nil if absent, or for a range
}

// asked is of how many checks the keys are read by the transaction itself where it fails,
// so that no other call is needed to say why: of so many that the answer fits.
func (c *Config) asked() int { return min(c.mostMessage()/int(c.MaxRequest)-1, 8) }

// request returns the transaction at the time of the attempt.
func (p *proposal) request() (*pb.TxnRequest, error) {
	r := &pb.TxnRequest{}
	if p.idKey != nil {
		r.Compare = append(r.Compare, isAt(p.idKey, p.burned))
		r.Failure = append(r.Failure, opGet(p.idKey))
	}
	p.compares(r)
	if len(p.w.Checks) <= p.b.config.asked() {
		for i := range p.w.Checks {
			if c := &p.w.Checks[i]; c.Kind != storage.CheckRange {
				r.Failure = append(r.Failure, opGet(p.b.space.key(c.Key)))
			}
		}
	}
	if err := p.writes(r); err != nil {
		return nil, err
	}
	return r, p.b.small(r)
}

// small refuses what the cluster would.
func (b *Backend) small(r *pb.TxnRequest) error {
	if size := proto.Size(r) + len(b.config.Username) + opExtra; size > int(b.config.MaxRequest) {
		return storage.LimitError(storage.SizeLimit, "request bytes", int64(b.config.MaxRequest), int64(size))
	}
	return nil
}

// compares puts the checks into r: as they are, or as that what was seen is still there.
func (p *proposal) compares(r *pb.TxnRequest) {
	for i := range p.w.Checks {
		c := &p.w.Checks[i]
		if c.Kind == storage.CheckRange {
			p.compareRange(r, c)
			continue
		}
		key := p.b.space.key(c.Key)
		switch {
		case c.Kind == storage.CheckPresent:
			r.Compare = append(r.Compare, isLive(key, p.now))
		case p.seen != nil && c.Kind == storage.CheckValue && p.seen.keys[i] != nil:
			r.Compare = append(r.Compare, isValue(key, p.seen.keys[i].Value))
		case p.seen != nil:
			r.Compare = append(r.Compare, isAt(key, p.seen.keys[i].GetModRevision()))
		case c.Kind == storage.CheckAbsent:
			r.Compare = append(r.Compare, isAt(key, 0))
		case c.Kind == storage.CheckValue: // most have no TTL
			r.Compare = append(r.Compare, isValue(key, encode(c.Value, 0)))
		default:
			r.Compare = append(r.Compare, isAt(key, revision(c.Version)), isLive(key, p.now))
		}
	}
}

func (p *proposal) compareRange(r *pb.TxnRequest, c *storage.Check) {
	from, to := p.b.space.bounds(c.Key, c.End)
	after := revision(c.Version)
	if p.seen != nil { // what was newer has expired
		after = max(after, p.seen.revision)
	}
	if !storage.EmptyRange(from, to) {
		r.Compare = append(r.Compare, noneAfter(from, to, after))
	}
}

// beforehand looks at the keys of checks that take too many compares as they are, and
// whether what was seen before has expired since.
func (p *proposal) beforehand() (int64, error) {
	if p.seen != nil {
		for i := range p.w.Checks {
			if c := &p.w.Checks[i]; c.Kind != storage.CheckRange {
				if ok, err := holds(c, p.seen.keys[i], p.now); !ok || err != nil {
					return p.settle(p.seen)
				}
			}
		}
		return 0, nil
	}
	compares := 1
	for i := range p.w.Checks {
		if compares++; p.w.Checks[i].Kind == storage.CheckVersion {
			compares++
		}
	}
	if compares < p.b.config.MaxOps {
		return 0, nil
	}
	return p.look()
}

// judge says why a transaction was not done: a check does not hold, or the write set was
// done before, and then at which version. Neither: it may be done now.
func (p *proposal) judge(answer *pb.TxnResponse) (int64, error) {
	s := &state{revision: answer.Header.Revision, keys: make([]*mvccpb.KeyValue, len(p.w.Checks))}
	responses := answer.Responses
	if p.idKey != nil {
		version, err := p.repeated(first(responses[0]))
		if version != 0 || err != nil {
			return version, err
		}
		responses = responses[1:]
	}
	if len(p.w.Checks) > p.b.config.asked() {
		return p.look()
	}
	for i := range p.w.Checks {
		if p.w.Checks[i].Kind != storage.CheckRange {
			s.keys[i], responses = first(responses[0]), responses[1:]
		}
	}
	return p.settle(s)
}

// settle judges the checks on a state, which is what is compared with from then on.
func (p *proposal) settle(s *state) (int64, error) {
	failed, err := p.failed(s)
	switch {
	case err != nil:
		return 0, p.fails(err)
	case failed >= 0 && p.doubt != nil:
		return p.burn(storage.ConflictAt(failed))
	case failed >= 0:
		return 0, storage.ConflictAt(failed)
	}
	p.seen = s
	return 0, nil
}

// look reads the keys of the checks, and judges them.
func (p *proposal) look() (int64, error) {
	s := &state{keys: make([]*mvccpb.KeyValue, len(p.w.Checks))}
	var keys [][]byte
	var at []int
	for i := range p.w.Checks {
		if c := &p.w.Checks[i]; c.Kind != storage.CheckRange {
			keys, at = append(keys, c.Key), append(at, i)
		}
	}
	if len(keys) == 0 { // for the revision
		keys, at, s.keys = [][]byte{nil}, []int{0}, make([]*mvccpb.KeyValue, 1)
	}
	g := getter{b: p.b}
	for len(keys) > 0 {
		kvs, err := g.some(p.t.caller, keys)
		if err != nil {
			return 0, p.fails(err)
		}
		for i, kv := range kvs {
			s.keys[at[i]] = kv
		}
		keys, at = keys[len(kvs):], at[len(kvs):]
	}
	s.revision = g.revision
	if p.idKey != nil { // which may have been done by then
		answer, err := p.b.ranges(p.t.caller, &pb.RangeRequest{Key: p.idKey})
		if err != nil {
			return 0, p.fails(err)
		}
		if len(answer.Kvs) > 0 {
			if version, err := p.repeated(answer.Kvs[0]); version != 0 || err != nil {
				return version, err
			}
		}
	}
	return p.settle(s)
}

// failed returns the first check that does not hold on a state, or -1 if all do.
func (p *proposal) failed(s *state) (int, error) {
	for i := range p.w.Checks {
		c := &p.w.Checks[i]
		var ok bool
		var err error
		if c.Kind == storage.CheckRange {
			ok, err = p.b.noneNewer(p.t.caller, c, s.revision, p.now)
		} else {
			ok, err = holds(c, s.keys[i], p.now)
		}
		if err != nil {
			return 0, err
		}
		if !ok {
			return i, nil
		}
	}
	return -1, nil
}

// holds judges a check on what its key has.
func holds(c *storage.Check, kv *mvccpb.KeyValue, now int64) (bool, error) {
	var it storage.Item
	live := false
	if kv != nil {
		var err error
		if it, live, err = item(kv, now); err != nil {
			return false, err
		}
	}
	switch c.Kind {
	case storage.CheckAbsent:
		return !live, nil
	case storage.CheckValue:
		return live && string(it.Value) == string(c.Value), nil
	case storage.CheckVersion:
		return live && it.Version == c.Version, nil
	}
	return live, nil
}

// noneNewer judges a range check at a revision: whether what is newer has expired.
func (b *Backend) noneNewer(ctx context.Context, c *storage.Check, at, now int64) (bool, error) {
	from, to := b.space.bounds(c.Key, c.End)
	p := pager{b: b, revision: at}
	for more := true; more && !storage.EmptyRange(from, to); {
		answer, err := p.ask(ctx, &pb.RangeRequest{Key: from, RangeEnd: to, MinModRevision: revision(c.Version) + 1, Limit: p.newer()})
		if err != nil {
			return false, err
		}
		for _, kv := range answer.Kvs {
			r, err := read(kv.Value)
			if err != nil || r.live(now) {
				return false, err
			}
			from = storage.After(kv.Key)
		}
		more = answer.More && len(answer.Kvs) > 0
	}
	return true, nil
}

// newer returns how many keys to ask for of those that are newer: mostly one says it all.
func (p *pager) newer() int64 { return max(stepBytes/p.b.weight.Load(), 1) }

// within refuses ranges that hold more than a write set may look at. What a member has is
// good enough to know.
func (b *Backend) within(ctx context.Context, p *proposal) error {
	sum := int64(0)
	for counts := range slices.Chunk(p.ranges(), b.config.MaxOps) {
		answer, err := b.readTxn(ctx, &pb.TxnRequest{Success: counts})
		if err != nil {
			return err
		}
		for _, c := range answer.Responses {
			sum += c.GetResponseRange().GetCount()
		}
	}
	if most := int64(b.config.MaxRangeItems); sum > most {
		return storage.LimitError(storage.RangeLimit, "items in the ranges of a write set (max_range_items)", most, sum)
	}
	return nil
}

// ranges returns requests that count what is in the ranges of a write set.
func (p *proposal) ranges() (counts []*pb.RequestOp) {
	count := func(start, end []byte) {
		if from, to := p.b.space.bounds(start, end); !storage.EmptyRange(from, to) {
			counts = append(counts, opRange(&pb.RangeRequest{Key: from, RangeEnd: to, CountOnly: true, Serializable: true}))
		}
	}
	for i := range p.w.Checks {
		if c := &p.w.Checks[i]; c.Kind == storage.CheckRange {
			count(c.Key, c.End)
		}
	}
	for i := range p.ops {
		if o := &p.ops[i]; o.Kind == storage.OpDeleteRange {
			count(o.Key, o.End)
		}
	}
	return counts
}
