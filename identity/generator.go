package identity

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"time"
)

// MaxWorker is the highest number of a worker.
const MaxWorker = 1<<workerBits - 1

// Generator makes IDs, each greater than the one before, up to 1024 in a millisecond. It is
// safe for concurrent use.
//
// Two generators make different IDs if their workers differ. A clock that goes back changes
// nothing for one that runs: it goes on from the latest ID. One that is started with the
// same worker while the clock is behind what an earlier one has seen may repeat IDs.
type Generator struct {
	worker uint64
	now    func() time.Time
	sleep  func(time.Duration)
	last   atomic.Uint64 // millisecond<<sequenceBits | sequence, of the latest ID
}

// Options are those of a generator.
type Options struct {
	// Worker tells generators apart that make IDs at once, from 0 to MaxWorker. Negative:
	// it is random, so that two of 75 collide with a probability of one half.
	Worker int
	Now    func() time.Time // nil: time.Now
}

// NewGenerator is a generator. A worker beyond MaxWorker is an error.
func NewGenerator(o Options) (*Generator, error) {
	g := &Generator{worker: uint64(o.Worker), now: o.Now, sleep: time.Sleep}
	if g.now == nil {
		g.now = time.Now
	}
	if o.Worker < 0 {
		var b [2]byte
		rand.Read(b[:])
		g.worker = uint64(binary.BigEndian.Uint16(b[:])) & MaxWorker
	} else if o.Worker > MaxWorker {
		return nil, fmt.Errorf("the worker is %d, it must be from 0 to %d", o.Worker, MaxWorker)
	}
	return g, nil
}

// Generate makes an ID of a kind: Generate[VaultSlug](g). When the millisecond has had its
// 1024 IDs, it waits for the next. A clock before 2024 or after 2163, which IDs cannot
// express, is an error.
func Generate[I ~uint64](g *Generator) (I, error) {
	for {
		at := g.now().UnixMilli() - epoch
		if at < 0 || at >= 1<<timeBits {
			return 0, fmt.Errorf("the clock says %s: IDs can be made from 2024 to 2163", g.now().UTC().Format(time.RFC3339))
		}
		now, last := uint64(at), g.last.Load()
		if last>>sequenceBits == now && last&(1<<sequenceBits-1) == 1<<sequenceBits-1 {
			g.sleep(g.untilNext())
			continue
		}
		next := max(last+1, now<<sequenceBits) // behind the clock: its first, else the one after the latest
		if next>>sequenceBits >= 1<<timeBits {
			return 0, fmt.Errorf("the IDs until 2163 are used up")
		}
		if g.last.CompareAndSwap(last, next) {
			ms, sequence := next>>sequenceBits, next&(1<<sequenceBits-1)
			return I(ms<<(workerBits+sequenceBits) | g.worker<<sequenceBits | sequence), nil
		}
	}
}

// untilNext is how long the millisecond still lasts.
func (g *Generator) untilNext() time.Duration {
	return time.Millisecond - time.Duration(g.now().UnixNano())%time.Millisecond
}
