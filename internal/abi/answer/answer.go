// Package answer reads answers from outside, and checks that they are possible answers to the
// question. Guests, subprocesses and servers are not trusted.
//
// What belongs here is the same for every carrier, and depends only on the contract and its
// ABI.
package answer

import (
	"bytes"
	"errors"

	"github.com/plinthkv/plinth/storage"
)

// Items reports whether the items of a GetMany are of keys that were asked for, in
// their order and no more often.
func Items(items []storage.Item, keys [][]byte) error {
	at := 0
	for i := range items {
		for at < len(keys) && !bytes.Equal(keys[at], items[i].Key) {
			at++
		}
		if at++; at > len(keys) {
			return errors.New("items that were not requested, or in another order")
		}
	}
	return nil
}

// Page reports whether a page is one of q: keys of the range, in order, no more
// than asked for, and a bound to go on from that makes the range smaller.
func Page(q *storage.Query, p *storage.Page) error {
	if q.Limit > 0 && len(p.Items) > q.Limit {
		return errors.New("more items than requested")
	}
	order := 1
	if q.Reverse {
		order = -1
	}
	for i := range p.Items {
		if key := p.Items[i].Key; !storage.InRange(key, q.Start, q.End) || i > 0 && bytes.Compare(key, p.Items[i-1].Key) != order {
			return errors.New("items outside of the range, or not in its order")
		}
	}
	if p.Next == nil {
		return nil
	}
	least, most := q.Start, q.End // Next is above least, and not above most; in reverse not below, and below
	if n := len(p.Items); n > 0 && q.Reverse {
		most = storage.After(p.Items[n-1].Key)
	} else if n > 0 {
		least = p.Items[n-1].Key
	}
	if bytes.Compare(p.Next, least) < max(order, 0) || most != nil && bytes.Compare(p.Next, most) > min(order, 0) {
		return errors.New("next does not advance")
	}
	return nil
}

// Present gives a value to items of an answer that have none, as only those of a
// scan of keys may: it is the empty one.
func Present(items []storage.Item) {
	for i := range items {
		if items[i].Value == nil {
			items[i].Value = []byte{}
		}
	}
}
