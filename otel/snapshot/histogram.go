package snapshot

import (
	"math"
	"slices"

	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// histogram holds an exponential histogram that others can be added to. Bucket i holds what
// is above base^i and not above base^(i+1), with base = 2^(2^-scale).
type histogram struct {
	count    uint64
	sum      float64
	min, max float64
	zeros    uint64
	scale    int32
	offset   int32 // of the first bucket
	buckets  []uint64
}

func fromPoint(p *metricdata.ExponentialHistogramDataPoint[float64]) histogram {
	h := histogram{count: p.Count, sum: p.Sum, zeros: p.ZeroCount, scale: p.Scale,
		offset: p.PositiveBucket.Offset, buckets: slices.Clone(p.PositiveBucket.Counts)}
	if least, ok := p.Min.Value(); ok {
		h.min = least
	}
	if most, ok := p.Max.Value(); ok {
		h.max = most
	}
	return h
}

// add adds o. The result is as coarse as the coarser of both.
func (h *histogram) add(o histogram) {
	if o.count == 0 {
		return
	}
	if h.count == 0 {
		*h = o
		h.buckets = slices.Clone(o.buckets)
		return
	}
	h.min, h.max = min(h.min, o.min), max(h.max, o.max)
	h.count += o.count
	h.sum += o.sum
	h.zeros += o.zeros
	o.buckets = slices.Clone(o.buckets)
	scale := min(h.scale, o.scale)
	h.coarsen(scale)
	o.coarsen(scale)
	switch {
	case len(o.buckets) == 0:
		return
	case len(h.buckets) == 0:
		h.offset, h.buckets = o.offset, o.buckets
		return
	}
	first := min(h.offset, o.offset)
	last := max(h.offset+int32(len(h.buckets)), o.offset+int32(len(o.buckets)))
	sum := make([]uint64, last-first)
	for i, n := range h.buckets {
		sum[h.offset-first+int32(i)] += n
	}
	for i, n := range o.buckets {
		sum[o.offset-first+int32(i)] += n
	}
	h.offset, h.buckets = first, sum
}

// coarsen brings h to a scale that is not finer than its own.
func (h *histogram) coarsen(scale int32) {
	by := h.scale - scale
	if by <= 0 {
		return
	}
	h.scale = scale
	if len(h.buckets) == 0 {
		return
	}
	first := h.offset >> by // rounds down, also below zero
	last := (h.offset + int32(len(h.buckets)) - 1) >> by
	merged := make([]uint64, last-first+1)
	for i, n := range h.buckets {
		merged[(h.offset+int32(i))>>by-first] += n
	}
	h.offset, h.buckets = first, merged
}

// quantile returns the value of nearest rank at p, of 0 to 1: the middle of its bucket
// in ratio, within what was really seen. 0 where there is nothing.
func (h *histogram) quantile(p float64) float64 {
	if h.count == 0 {
		return 0
	}
	rank := uint64(max(math.Ceil(p*float64(h.count)), 1))
	if rank <= h.zeros {
		return 0
	}
	seen := h.zeros
	for i, n := range h.buckets {
		if seen += n; seen >= rank {
			middle := math.Exp2((float64(h.offset) + float64(i) + 0.5) * math.Exp2(-float64(h.scale)))
			return min(max(middle, h.min), h.max)
		}
	}
	return h.max
}

// bound returns the most that a quantile is away from the exact one, relative to it:
// half a bucket, in ratio.
func (h *histogram) bound() float64 { return math.Exp2(math.Exp2(-float64(h.scale))/2) - 1 }
