package guest

import (
	"log/slog"
	"runtime/debug"
	"unsafe"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/storage"
)

//go:wasmexport plinth_abi_v1
func exportMarker() {}

//go:wasmexport plinth_buffer
func exportBuffer(n int32) int64 {
	if n < 0 {
		return int64(abi.PackCode(abi.CodeUseCall))
	}
	b := self.buffer(int(n))
	if b == nil {
		return int64(abi.PackCode(uint8(storage.SizeLimit)))
	}
	return int64(abi.PackResult(address(b), uint32(len(b)), false))
}

//go:wasmexport plinth_open
func exportOpen(n int32) int64 { return packed(self.doOpen(int(uint32(n)))) }

//go:wasmexport plinth_call
func exportCall(n int32) int64 {
	if answer := self.quickPut(int(uint32(n))); answer != nil {
		return int64(abi.PackResult(address(answer), uint32(len(answer)), false))
	}
	return packed(self.anyCall(int(uint32(n))))
}

//go:wasmexport plinth_get
func exportGet(n int32, now int64) int64 {
	message, code := self.quickGet(int(uint32(n)), now)
	switch {
	case message != nil:
		return int64(abi.PackResult(address(message), uint32(len(message)), false))
	case code != 0:
		return int64(abi.PackCode(code))
	}
	return packed(self.anyGet(int(uint32(n)), now))
}

//go:wasmexport plinth_close
func exportClose() int64 { return packed(self.doClose()) }

//go:wasmimport plinth log
func importLog(level int32, record unsafe.Pointer, n int32)

func hostLog(level slog.Level, record []byte) {
	importLog(int32(level), unsafe.Pointer(unsafe.SliceData(record)), int32(len(record)))
}

// address returns where b is. Go does not move what it has allocated, and self keeps b.
func address(b []byte) uint32 { return uint32(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) }

func packed(r result) int64 {
	if r.code != 0 {
		return int64(abi.PackCode(r.code))
	}
	return int64(abi.PackResult(address(r.bytes), uint32(len(r.bytes)), r.isErr))
}

// limitMemory has the garbage collector, which stops everything in a module, run
// seldom as long as there is memory, and often before it runs out.
func limitMemory(bytes int64) {
	if bytes > 0 {
		debug.SetGCPercent(200)
		debug.SetMemoryLimit(bytes / 4 * 3) // the collector runs beside a burst of allocations, and may be late
	}
}

// limitHeap has the collector run whenever there are garbageRoom bytes beside those
// that are held, and never before: there is next to nothing to trace.
func limitHeap(held int64) {
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(held + runtimeRoom + garbageRoom)
}

// What Go's runtime takes for itself in a module, and what may be garbage, in bytes.
const (
	runtimeRoom = 6 << 20
	garbageRoom = 10 << 20
)
