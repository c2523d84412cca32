package main

import (
	"cmp"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// coldStep is how many items a block has, about: of neighbours one is read.
const coldStep = 32

// coldReads is how often the system's memory of the files is taken away: what it reads ahead
// would soon be all of them.
const coldReads = 128

// coldItems are items that lie in different blocks, in an order without neighbours. Together
// their blocks are more than the engine's cache holds, so that none of them is in it when its
// turn comes again.
var coldItems = sync.OnceValue(func() []uint64 {
	all := make([]uint64, durableItems)
	for n := range all {
		all[n] = uint64(n)
	}
	slices.SortFunc(all, func(a, b uint64) int { return cmp.Compare(a*0x9E3779B97F4A7C15, b*0x9E3779B97F4A7C15) })
	var some []uint64
	for i := 0; i < len(all); i += coldStep {
		some = append(some, all[i])
	}
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
	return some
})

// readCold gets items whose blocks neither the engine nor the system has in memory.
func readCold(b *testing.B, dir string, d *durable, at *int) {
	items := coldItems()
	for b.Loop() {
		if *at%coldReads == 0 {
			b.StopTimer()
			if err := evict(dir); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
		if err := d.get(items[*at%len(items)]); err != nil {
			b.Fatal(err)
		}
		*at++
	}
}

// evict has the system forget what it has of the files below dir.
func evict(dir string) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) { // it was merged into another
			return nil
		}
		if err != nil {
			return err
		}
		defer f.Close()
		if err := f.Sync(); err != nil {
			return err
		}
		return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	})
}
