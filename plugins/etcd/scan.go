package etcd

import (
	"bytes"
	"context"
	"math"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/plinthkv/plinth/storage"
)

// A page has at most maxItems items and looks at no more than maxLooks keys.
const (
	pageItems = 1000
	pageBytes = 1 << 20
	maxItems  = 10_000
	maxBytes  = 8 << 20
	maxLooks  = 20_000
)

// A member is asked for so many keys at a time that they have about stepBytes: it limits
// keys and not bytes. firstWeight is what an item is taken to have before any was seen.
const (
	stepBytes   = 1 << 20
	stepItems   = pageItems + 1
	firstWeight = 8 << 10
)

// Scan returns one page, of one revision.
func (b *Backend) Scan(ctx context.Context, q storage.Query) (storage.Page, error) {
	if err := q.Validate(); err != nil {
		return storage.Page{}, err
	}
	if err := b.enter(ctx); err != nil {
		return storage.Page{}, err
	}
	defer b.leave()
	switch {
	case q.AtVersion >= math.MaxInt64:
		return storage.Page{}, storage.Errorf(storage.Conflict, "the version to scan does not exist yet")
	case q.AtVersion != 0 && int64(q.AtVersion) < b.born:
		return storage.Page{}, storage.Errorf(storage.Conflict, "the version to scan is from before the store was made")
	}
	cut := q.Cut(b.info.Limits)
	p := pager{b: b, q: &cut, now: b.now(), revision: int64(q.AtVersion), items: limit(q.Limit, pageItems, maxItems),
		bytes: min(limit(q.MaxBytes, pageBytes, maxBytes), b.answer), looks: maxLooks}
	if err := p.fill(ctx); err != nil {
		return storage.Page{}, named("scan", err)
	}
	p.page.Version = uint64(p.revision)
	cut.Resume(&p.page)
	return p.page, nil
}

func limit(asked, usual, most int) int {
	if asked == 0 {
		return usual
	}
	return min(asked, most)
}

// pager fills a page until something runs out.
type pager struct {
	b                   *Backend
	q                   *storage.Query
	page                storage.Page
	now                 int64
	revision            int64 // 0 means that of the first answer
	items, bytes, looks int   // what is left
	barren              int   // steps in a row that gave no item
}

// fill reads a page, step by step.
func (p *pager) fill(ctx context.Context) error {
	if storage.EmptyRange(p.q.Start, p.q.End) {
		_, err := p.ask(ctx, &pb.RangeRequest{Key: p.b.space.marker, CountOnly: true})
		return err
	}
	from, to := p.b.space.bounds(p.q.Start, p.q.End)
	for {
		r := &pb.RangeRequest{Key: from, RangeEnd: to, Limit: p.size()} // with values: a deadline is in one
		if p.q.Reverse {
			r.SortTarget, r.SortOrder = pb.RangeRequest_KEY, pb.RangeRequest_DESCEND
			if err := p.narrow(ctx, r); err != nil {
				return err
			}
		}
		answer, err := p.ask(ctx, r)
		if err != nil {
			return err
		}
		had := len(p.page.Items)
		for _, kv := range answer.Kvs {
			if full, err := p.take(kv); full || err != nil {
				return err
			}
		}
		if p.barren++; len(p.page.Items) > had {
			p.barren = 0
		}
		switch {
		case answer.More && p.q.Reverse:
			to = answer.Kvs[len(answer.Kvs)-1].Key
		case answer.More:
			from = storage.After(answer.Kvs[len(answer.Kvs)-1].Key)
		case !bytes.Equal(r.Key, from): // it was narrowed
			to = r.Key
		default:
			return nil
		}
		if p.looks <= 0 {
			p.goesOn(from, to)
			return nil
		}
	}
}

// goesOn says where the next page begins.
func (p *pager) goesOn(from, to []byte) {
	if p.q.Reverse {
		from = to
	}
	p.page.Next = append([]byte{}, p.b.space.own(from)...)
}

// size returns how many keys to ask for: one more than fits, which is where the next page begins.
func (p *pager) size() int64 {
	bytes := stepBytes
	if !p.q.KeysOnly {
		bytes = min(bytes, max(p.bytes, 0))
	}
	items := min((p.items+1)<<min(3*p.barren, 12), stepItems) // over what has expired in longer steps
	return max(min(int64(items), int64(bytes)/p.b.weight.Load()), 1)
}

// ask asks for keys, and for fewer where those are too large together.
func (p *pager) ask(ctx context.Context, r *pb.RangeRequest) (*pb.RangeResponse, error) {
	for {
		r.Revision = p.revision
		answer, err := p.b.ranges(ctx, r)
		if err == nil {
			if p.revision == 0 {
				p.revision = answer.Header.Revision
			}
			p.b.weigh(answer.Kvs)
			return answer, nil
		}
		if r.Limit <= 1 || !tooLarge(cause(err)) {
			return nil, err
		}
		p.b.weight.Store(max(p.b.weight.Load(), int64(p.b.config.mostMessage())/r.Limit))
		r.Limit /= 4
		r.Limit = max(r.Limit, 1)
	}
}

// weigh learns how much items have: at once that it is more, little by little that it is
// less.
func (b *Backend) weigh(kvs []*mvccpb.KeyValue) {
	if len(kvs) == 0 {
		return
	}
	size := int64(0)
	for _, kv := range kvs {
		size += int64(len(kv.Key) + len(kv.Value))
	}
	is, was := max(size/int64(len(kvs)), 64), b.weight.Load()
	if is < was {
		is = (was + is) / 2
	}
	b.weight.Store(is)
}

// take puts a key onto the page, or ends the page before it.
func (p *pager) take(kv *mvccpb.KeyValue) (full bool, err error) {
	p.looks--
	it, live, err := item(kv, p.now)
	if err != nil || !live {
		return false, err
	}
	it.Key = p.b.space.own(kv.Key)
	if p.q.KeysOnly {
		it.Value = nil
	}
	size := len(it.Key) + len(it.Value)
	if p.items == 0 || len(p.page.Items) > 0 && size > p.bytes {
		p.goesOn(kv.Key, storage.After(kv.Key))
		return true, nil
	}
	p.page.Items = append(p.page.Items, it)
	p.items--
	p.bytes -= size
	return false, nil
}
