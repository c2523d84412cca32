package etcd

import (
	"bytes"
	"context"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// mostSorted is how many items a member is asked to sort: it reads all of a range, values
// and all, to answer the last few of it. deepest is how often a range is narrowed.
const (
	mostSorted = 4096
	deepest    = 64
)

// narrow moves the start of a range up until no more items are in it than a member is to
// sort. It counts, which costs no values, what is below each byte that may follow what the
// range's keys have in common, and takes the last that has any.
func (p *pager) narrow(ctx context.Context, r *pb.RangeRequest) error {
	whole, err := p.ask(ctx, &pb.RangeRequest{Key: r.Key, RangeEnd: r.RangeEnd, CountOnly: true})
	if err != nil || whole.Count <= mostSorted {
		return err
	}
	from, to := r.Key, r.RangeEnd
	shared := common(from, to)
	for range deepest {
		bounds := cells(shared, from, to)
		counts, err := p.counts(ctx, bounds)
		if err != nil {
			return err
		}
		at, sum := len(counts), int64(0) // cells from at on have so many items
		for at > 0 && sum+counts[at-1] <= mostSorted {
			at--
			sum += counts[at]
		}
		if sum > 0 {
			r.Key = bounds[at]
			return nil
		}
		from, to = bounds[at-1], bounds[at]
		shared = from[:min(len(shared)+1, len(from))]
	}
	r.Key = from
	return nil
}

func common(a, b []byte) []byte {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return a[:n]
}

// cells returns the bounds between which the keys of a range lie by the byte that follows what
// they share, the range's own among them.
func cells(shared, from, to []byte) [][]byte {
	bounds := [][]byte{from}
	for b := range 256 {
		bound := append(slices.Clone(shared), byte(b))
		if bytes.Compare(bound, from) > 0 && bytes.Compare(bound, to) < 0 {
			bounds = append(bounds, bound)
		}
	}
	return append(bounds, to)
}

// counts returns how many keys are between bounds, expired ones too.
func (p *pager) counts(ctx context.Context, bounds [][]byte) (counts []int64, err error) {
	for at := 0; at < len(bounds)-1; {
		n := min(p.b.fit(bounds[at+1:], p.b.config.MaxOps/2), len(bounds)-1-at)
		r := &pb.TxnRequest{}
		for i := at; i < at+n; i++ {
			r.Success = append(r.Success, opRange(&pb.RangeRequest{Key: bounds[i], RangeEnd: bounds[i+1], CountOnly: true, Revision: p.revision}))
		}
		answer, err := p.b.readTxn(ctx, r)
		if err != nil {
			return nil, err
		}
		for _, c := range answer.Responses {
			counts = append(counts, c.GetResponseRange().GetCount())
		}
		at += n
	}
	return counts, nil
}
