package budget

import "sync/atomic"

// Guess estimates the size of a store's items from recent ones. That much memory is reserved
// before an item is read, because its size is known only afterwards. It is safe for
// concurrent use. The zero Guess is ready to use; a nil one, of a store that is gone,
// ignores what it is given.
type Guess struct {
	now           atomic.Int64 // 0 means least
	largest, seen atomic.Int64 // since now was made smaller last
}

const (
	leastGuess = 4 << 10
	guessAfter = 1024 // items, after which those before are forgotten
)

// Item returns the guess, in bytes.
func (g *Guess) Item() int64 {
	if g == nil {
		return leastGuess
	}
	return max(g.now.Load(), leastGuess)
}

// Saw records an item of n bytes.
func (g *Guess) Saw(n int64) {
	if g == nil {
		return
	}
	if n > g.largest.Load() {
		g.largest.Store(n) // of two at once the smaller may stay: it is a guess
	}
	if 2*n > g.now.Load() && n > leastGuess/2 {
		g.now.Store(2 * n)
	}
	if g.seen.Add(1) >= guessAfter {
		g.now.Store(2 * g.largest.Swap(0))
		g.seen.Store(0)
	}
}

// Guesses returns a guess for each of all, that of before where there was one.
func Guesses[K comparable](before map[K]*Guess, all []K) map[K]*Guess {
	now := make(map[K]*Guess, len(all))
	for _, k := range all {
		if now[k] = before[k]; now[k] == nil {
			now[k] = &Guess{}
		}
	}
	return now
}
