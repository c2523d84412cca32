package pebble

import (
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/plinthkv/plinth/storage"
)

// disk is how much of the disk is free.
type disk struct {
	fs      vfs.FS
	dir     string
	reserve int64
	looked  atomic.Int64 // when, in ms of the process's own time
	free    atomic.Int64 // bytes, as last looked at
	full    atomic.Bool  // the system has said so since
}

// lookEach limits how long what was seen of the disk is good for.
const lookEach = 100 * time.Millisecond

var started = time.Now()

// watch returns the file system as the engine is to see it.
func (d *disk) watch(fs vfs.FS, dir string, reserve int64) vfs.FS {
	d.fs, d.dir, d.reserve = fs, dir, reserve
	return vfs.OnDiskFull(fs, func() { d.full.Store(true) })
}

// room refuses a write set for which there is no room.
func (d *disk) room(w *storage.WriteSet) error {
	free := d.look()
	need := d.reserve
	if !adds(w) {
		need /= 4
	}
	if free >= need {
		return nil
	}
	e := storage.LimitError(storage.NoSpace, "free bytes of the disk", need, free)
	e.Layer, e.Msg = "pebble", "the disk is full"
	return e
}

// look returns how many bytes are free.
func (d *disk) look() int64 {
	now := time.Since(started).Milliseconds() + 1
	if last := d.looked.Load(); last != 0 && now-last < lookEach.Milliseconds() && !d.full.Swap(false) {
		return d.free.Load()
	}
	usage, err := d.fs.GetDiskUsage(d.dir)
	if err != nil { // it is not known on this system: the engine will say so
		d.free.Store(1 << 62)
	} else {
		d.free.Store(int64(min(usage.AvailBytes, 1<<62)))
	}
	d.looked.Store(now)
	return d.free.Load()
}

// adds reports whether a write set needs room of its own.
func adds(w *storage.WriteSet) bool {
	for i := range w.Ops {
		if w.Ops[i].Kind == storage.OpPut {
			return true
		}
	}
	return false
}
