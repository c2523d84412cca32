package abigrpc

import (
	"strings"
	"time"

	"github.com/plinthkv/plinth/internal/abi/abipb"
)

// Service names the service.
const Service = "plinth.backend.v1.Backend"

// The methods, as requests name them.
const (
	MethodOpen    = "/" + Service + "/Open"   // of subprocesses alone
	MethodTry     = "/" + Service + "/Try"    // of subprocesses alone
	MethodAttach  = "/" + Service + "/Attach" // of subprocesses alone
	MethodGet     = "/" + Service + "/Get"
	MethodGetMany = "/" + Service + "/GetMany"
	MethodScan    = "/" + Service + "/Scan"
	MethodChanges = "/" + Service + "/Changes"
	MethodFollow  = "/" + Service + "/Follow" // of hosts alone
	MethodApply   = "/" + Service + "/Apply"
	MethodHealth  = "/" + Service + "/Health"
	MethodInfo    = "/" + Service + "/Info"
	MethodClose   = "/" + Service + "/Close"
)

// The names of a request's metadata; numbers are in decimal.
const (
	// MetaNow is the caller's clock, in ms: the server counts the times of the
	// call by it. Without it times are by the server's own clock, which is what
	// the same name in the header of an answer to Info says.
	MetaNow = "plinth-now"
	// MetaBudget limits the answer, in bytes; without it, [abi.DefaultMaxFrame] does.
	MetaBudget = "plinth-budget"
	// MetaUntil is when, in ms, by the same clock as the times of the call, a write
	// is too late to be begun: it is then refused. A caller who repeats a write with
	// its ID gives all attempts the same, within which the ID is remembered.
	MetaUntil = "plinth-until"
	// MetaClock is what the caller believes the time of the call's clock is at the
	// server, in ms. An Apply is refused as Unavailable if that is off by more than
	// [ClockTolerance]; the trailer then has the server's clock as [MetaNow]. A caller
	// that has measured the server's clock notices that way that one of them was set.
	MetaClock = "plinth-clock"
	// MetaWrite names a write, as 32 hex digits, in all of its attempts; without it
	// the ID of its write set does. It counts together with [MetaUntil].
	MetaWrite = "plinth-write"
	// MetaInstance identifies, in the header of an answer to Info, the server as long as it
	// runs, if no other one writes to the store: a refusal by which it settles a write (see
	// [Settles]) holds for all attempts of it that were sent to this one.
	MetaInstance = "plinth-instance"
	// MetaStore names the store. It is optional if the server has one only.
	MetaStore = "plinth-store"
	// MetaTraceparent and MetaTracestate are the W3C trace context.
	MetaTraceparent = "traceparent"
	MetaTracestate  = "tracestate"
	// MetaAuthorization carries "Bearer " and a token.
	MetaAuthorization = "authorization"
)

// ClockTolerance limits how far [MetaClock] may be off.
const ClockTolerance = time.Second

// File returns the file that describes the service, for reflection.
func File() string { return abipb.File_plinth_backend_v1_backend_proto.Path() }

// Of reports whether a request's method is one of the service.
func Of(method string) bool { return strings.HasPrefix(method, "/"+Service+"/") }
