package grpcserver

import (
	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/storage"
)

// pageReserve is the size of a page without its items and the bound to continue from.
const pageReserve = 64

// fit leaves so much of a page as fits the budget, which is at least one item of
// those that there are, or a RangeLimit.
func fit(p *storage.Page, reverse bool, budget int) error {
	used := pageReserve + len(p.Next)
	for i := range p.Items {
		used += abi.ItemSize(&p.Items[i])
		if used <= budget {
			continue
		}
		if i == 0 {
			return storage.LimitError(storage.RangeLimit, "answer bytes", int64(budget), int64(used))
		}
		next := p.Items[i].Key
		if reverse {
			next = storage.After(next)
		}
		if used -= abi.ItemSize(&p.Items[i]); used+len(next)-len(p.Next) > budget && i > 1 {
			i-- // the bound is an item's size too
			if next = p.Items[i].Key; reverse {
				next = storage.After(next)
			}
		}
		p.Items, p.Next = p.Items[:i], next
		return nil
	}
	return nil
}
