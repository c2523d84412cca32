package budget

import (
	"context"

	"github.com/plinthkv/plinth/storage"
)

// ItemBytes returns the memory of an item, including overhead.
func ItemBytes(it *storage.Item) int64 { return int64(len(it.Key)+len(it.Value)) + itemBytes }

const itemBytes = 128

// Answer returns an error of Take as one about an answer: an answer that exceeds a client's
// share is a RangeLimit, because the client can ask for parts of it.
func Answer(err error) error {
	if e := storage.AsError(err); e != nil && e.Code == storage.SizeLimit {
		return storage.LimitError(storage.RangeLimit, e.Limit.Kind, e.Limit.Max, e.Limit.Actual)
	}
	return err
}

// Fetch calls read, for at most so many items, with room for the size that g guesses. If
// the answer turns out larger, it is dropped, and read again when there is room: an answer
// is counted before it exists, or discarded at once. In the end the account holds the size
// of the answer in addition to what it held before.
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

// Page returns the memory to reserve for a page of so many bytes that is held in so many
// copies. A page may contain one item that is larger, whose size g guesses. The result is at
// most half of a client's share, or the size that was asked for.
func Page(a *Account, g *Guess, bytes, copies int64) int64 {
	item := g.Item()
	if a != nil {
		item = min(item, a.b.share/2/copies)
	}
	return max(bytes, item)
}

// FetchPage fetches like Fetch, for a page of a scan of that many bytes, which may hold one
// item that is larger.
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
