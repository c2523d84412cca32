package abi

import (
	"iter"

	"github.com/plinthkv/plinth/storage"
)

// Op names the operation of a request frame. Its numbers are wire-stable and are only ever
// added to; a backend answers unknown ones with Unsupported.
type Op uint8

// The ops.
const (
	OpGet     Op = 1
	OpGetMany Op = 2
	OpScan    Op = 3
	OpApply   Op = 4
	OpHealth  Op = 5
	OpChanges Op = 6
	// OpCancel reports that the caller of the request with the same id has left. It has
	// no message and no answer of its own, and is sent on data sockets only, where that
	// request is answered all the same.
	OpCancel Op = 7

	opsEnd = OpCancel + 1
)

var opNames = [...]string{"", "get", "get_many", "scan", "apply", "health", "changes", "cancel"}

// String returns the op's name in snake_case, or "unknown" if this version does not know
// it.
func (o Op) String() string {
	if o == 0 || o >= opsEnd {
		return "unknown"
	}
	return opNames[o]
}

// Ops returns the ops that have an answer.
func Ops() iter.Seq[Op] {
	return func(yield func(Op) bool) {
		for op := OpGet; op < opsEnd; op++ {
			if op != OpCancel && !yield(op) {
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
	// CookieKey and CookieValue form the variable by which a program knows that a host
	// started it as a plugin. It is no secret.
	CookieKey   = "PLINTH_PLUGIN"
	CookieValue = "plinth.backend.v1"
	// RunDirKey names the variable with the folder that the host made for this process, with
	// its sockets in it. The host removes it; if the host is gone first, the process must.
	RunDirKey = "PLINTH_RUN_DIR"
	// DirKey names the variable with the folder for the files of this process: its working
	// directory, which no other backend uses. If unset, there is none, and the working
	// directory is empty and removed with the process.
	DirKey = "PLINTH_DIR"
	// LevelKey names the variable with the lowest level that the host logs: debug, info, warn
	// or error. A process need not print lower ones. If unset, all are logged.
	LevelKey = "PLINTH_LOG_LEVEL"
	// PluginKind names the only service that a subprocess offers.
	PluginKind = "backend"
	// TokenSize is the number of bytes that the host sends first on a data socket.
	TokenSize = 32
)

// DefaultMaxFrame is the default of the largest accepted frame, in bytes, with the length
// word.
const DefaultMaxFrame = 64 << 20

// MaxElements bounds the keys, items, or checks and ops together, of one message. It
// bounds what a hostile message can make a decoder allocate: an element takes at least 2
// bytes of input and at most 112 bytes of memory, so the slices of one message take at
// most 56 times its length, and never more than 28 MiB.
const MaxElements = 1 << 18

// MaxDetails bounds the details of one Health message.
const MaxDetails = 1 << 10

// MaxErrorText bounds a text of an error, in bytes; the rest is cut.
const MaxErrorText = 4 << 10

// ErrorBit marks the result of a failed call.
const ErrorBit = 1 << 31

// CodeUseCall is a bare code of plinth_get only: the host sends the same request through
// plinth_call.
const CodeUseCall = 255

// PackResult returns the result of a WASM call with n bytes at ptr, which are an Error
// message if isErr is set. n must be below 1 << 31; otherwise the result is a bare
// SizeLimit.
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

// PackCode returns the result with a bare code, a [storage.Code] or [CodeUseCall],
// without a message.
func PackCode(c uint8) uint64 { return ErrorBit | uint64(c) }

// UnpackResult splits a result. With isErr, a ptr of 0 means that n is a bare code. It
// checks nothing: the numbers are the guest's.
func UnpackResult(r uint64) (ptr, n uint32, isErr bool) {
	return uint32(r >> 32), uint32(r) &^ ErrorBit, r&ErrorBit != 0
}
