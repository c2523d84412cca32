package budget

import (
	"context"

	"github.com/plinthkv/plinth/storage"
)

// ItemBytes returns the memory of an item, including overhead.
func ItemBytes(it *storage.Item) int64 { return int64(len(it.Key)+len(it.Value)) + itemBytes }

const itemBytes = 128

// Answer is an error of Take about an answer: what is too large for a client's share is
// a RangeLimit then, for it can be asked for in parts.
func Answer(err error) error {
	if e := storage.AsError(err); e != nil && e.Code == storage.SizeLimit {
		return storage.LimitError(storage.RangeLimit, e.Limit.Kind, e.Limit.Max, e.Limit.Actual)
	}
	return err
}

// Fetch has items read, at most so many, with room for as much as they may take, which
// g guesses. What turns out larger than was guessed is dropped, and read again once
// there is room: an answer counts before it is there, or is gone at once. In the end
// the account holds what was read, beside what it held before.
func Fetch(ctx context.Context, a *Account, g *Guess, items int, read func() (n int64, err error), drop func()) error {
	items = max(items, 1)
	room := int64(items) * g.Item()
	if a != nil {
		room = min(room, a.b.share/2) // more than that at once is read in parts
	}
	return fetch(ctx, a, room, func() (n int64, err error) {
		if n, err = read(); err == nil {
			g.Saw(n / int64(items))
		}
		return n, err
	}, drop)
}

// Page is how much a page may take that is asked for with so many bytes and is in memory in
// so many copies: it may hold one item that is larger, whose size g guesses. It is at most
// half of a client's share, or what was asked for.
func Page(a *Account, g *Guess, bytes, copies int64) int64 {
	item := g.Item()
	if a != nil {
		item = min(item, a.b.share/2/copies)
	}
	return max(bytes, item)
}

// FetchPage is Fetch for a page of a scan, which was asked for with so many bytes, and may
// hold one item that is larger.
func FetchPage(ctx context.Context, a *Account, g *Guess, bytes int64, read func() (n int64, err error), drop func()) error {
	return fetch(ctx, a, Page(a, g, bytes, 1), func() (n int64, err error) {
		if n, err = read(); n > bytes && err == nil {
			g.Saw(n)
		}
		return n, err
	}, drop)
}

func fetch(ctx context.Context, a *Account, room int64, read func() (n int64, err error), drop func()) error {
	held := a.Held()
	const tries = 3
	for try := 1; ; try++ {
		if err := a.Resize(ctx, held+room); err != nil {
			return Answer(err)
		}
		n, err := read()
		if err != nil {
			a.Give(room)
			return err
		}
		if n <= room || try == tries {
			return Answer(a.Resize(ctx, held+n))
		}
		drop()
		room = n
	}
}
