package abi

import (
	"iter"

	"github.com/plinthkv/plinth/storage"
)

// Op is what a request frame asks for. Its numbers are wire-stable and are only
// ever added to; a backend answers Unsupported to those that it does not know.
type Op uint8

// The ops.
const (
	OpGet     Op = 1
	OpGetMany Op = 2
	OpScan    Op = 3
	OpApply   Op = 4
	OpHealth  Op = 5
	OpWatch   Op = 6 // reserved
	// OpCancel says that nobody waits for the answer to the request whose id it has
	// any more. It has no message and no answer of its own, and is sent on data
	// sockets only, where the request is answered all the same.
	OpCancel Op = 7

	opsEnd = OpCancel + 1
)

var opNames = [...]string{"", "get", "get_many", "scan", "apply", "health", "watch", "cancel"}

// String is the op's name in snake_case; "unknown" for those that this version
// does not know.
func (o Op) String() string {
	if o == 0 || o >= opsEnd {
		return "unknown"
	}
	return opNames[o]
}

// Ops are the ops that are asked and answered.
func Ops() iter.Seq[Op] {
	return func(yield func(Op) bool) {
		for op := OpGet; op < opsEnd; op++ {
			if op != OpWatch && op != OpCancel && !yield(op) {
				return
			}
		}
	}
}

// Version and Minor are the version of the ABI. Within one Version everything is
// only added to; Minor says how much has been.
const (
	Version = 1
	Minor   = 0
)

// The names by which a host and a WASM guest know each other.
const (
	HostModule   = "plinth"        // the module of the host's functions
	ExportMarker = "plinth_abi_v1" // says which Version the guest speaks
	ExportBuffer = "plinth_buffer"
	ExportOpen   = "plinth_open"
	ExportCall   = "plinth_call"
	ExportGet    = "plinth_get" // optional
	ExportClose  = "plinth_close"
	ImportLog    = "log"
)

// What a host and a subprocess know each other by, over go-plugin's handshake.
const (
	// CookieKey and CookieValue are the variable that says to a program that it was
	// started as a plugin. It is no secret.
	CookieKey   = "PLINTH_PLUGIN"
	CookieValue = "plinth.backend.v1"
	// RunDirKey is the variable that names a folder which the host has made for this
	// process, with its sockets in it. The host removes it, but if the host is gone
	// first, the process has to.
	RunDirKey = "PLINTH_RUN_DIR"
	// DirKey is the variable that names the folder in which this process may keep files: it
	// is its working directory, and nobody else has a backend in it. Unset: there is none,
	// and the working directory is empty and goes with the process.
	DirKey = "PLINTH_DIR"
	// LevelKey is the variable that names the lowest level that the host logs: debug, info,
	// warn or error. A process need not print what is below it. Unset: all are logged.
	LevelKey = "PLINTH_LOG_LEVEL"
	// PluginKind is the name of the one thing that a subprocess offers.
	PluginKind = "backend"
	// TokenSize is how many bytes the host sends first on a data socket.
	TokenSize = 32
)

// DefaultMaxFrame is the largest frame that is accepted where nothing else is
// configured, in bytes, with the length word.
const DefaultMaxFrame = 64 << 20

// MaxElements is the most keys, items, or checks and ops together, that one
// message may hold. It bounds what a hostile message can make a decoder
// allocate: an element takes at least 2 bytes of input and at most 104 bytes of
// memory, so the slices of one message take at most 52 times its length, and
// never more than 26 MiB.
const MaxElements = 1 << 18

// MaxDetails is the most details that one Health message may hold.
const MaxDetails = 1 << 10

// MaxErrorText is the longest text of an error, in bytes: what is longer is cut.
const MaxErrorText = 4 << 10

// ErrorBit is the bit of a result that says that the call failed.
const ErrorBit = 1 << 31

// CodeUseCall is a bare code of plinth_get alone: the host asks the same again
// through plinth_call.
const CodeUseCall = 255

// PackResult is the result of a WASM call: where its n bytes are and whether
// they are an Error message. n is below 1 << 31; of anything larger the result
// is a bare SizeLimit.
func PackResult(ptr, n uint32, isErr bool) uint64 {
	if n >= ErrorBit {
		return PackCode(uint8(storage.SizeLimit))
	}
	r := uint64(ptr)<<32 | uint64(n)
	if isErr {
		r |= ErrorBit
	}
	return r
}

// PackCode is the result that says a bare code, a [storage.Code] or
// [CodeUseCall], without a message.
func PackCode(c uint8) uint64 { return ErrorBit | uint64(c) }

// UnpackResult takes a result apart. With isErr, a ptr of 0 means that n is a
// bare code. Nothing is checked: the guest made the numbers up.
func UnpackResult(r uint64) (ptr, n uint32, isErr bool) {
	return uint32(r >> 32), uint32(r) &^ ErrorBit, r&ErrorBit != 0
}
