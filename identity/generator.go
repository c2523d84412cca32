package identity

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"time"
)

// MaxWorker limits the worker number.
const MaxWorker = 1<<workerBits - 1

// Generator makes IDs, each greater than the one before, up to 1024 in a millisecond. It
// is safe for concurrent use.
//
// Two generators with different workers never make the same ID. If the clock goes back, a
// running generator continues from its latest ID. A new generator with the same worker,
// started while the clock is behind the latest ID of an earlier one, may repeat IDs.
type Generator struct {
	worker uint64
	now    func() time.Time
	sleep  func(time.Duration)
	last   atomic.Uint64 // millisecond<<sequenceBits | sequence, of the latest ID
}

// Options configure a generator.
type Options struct {
	// Worker distinguishes generators that run at the same time, from 0 to MaxWorker. If
	// negative, it is random: two of 75 generators then collide with a probability of one
	// half.
	Worker int
	Now    func() time.Time // if nil, time.Now
}

// NewGenerator returns a generator. A worker above MaxWorker is an error.
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

// Generate makes an ID of a kind: Generate[VaultSlug](g). If the 1024 IDs of a
// millisecond are used up, it waits for the next. IDs cannot express a time before 2024
// or after 2163, which is an error.
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

// untilNext returns how long the millisecond still lasts.
func (g *Generator) untilNext() time.Duration {
	return time.Millisecond - time.Duration(g.now().UnixNano())%time.Millisecond
}
