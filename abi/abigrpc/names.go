package abigrpc

import (
	"strings"

	"github.com/plinthkv/plinth/abi/abipb"
)

// Service is the name of the service.
const Service = "plinth.backend.v1.Backend"

// The methods, as requests name them.
const (
	MethodGet     = "/" + Service + "/Get"
	MethodGetMany = "/" + Service + "/GetMany"
	MethodScan    = "/" + Service + "/Scan"
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
	// MetaBudget is the largest answer wanted, in bytes; without it
	// [abi.DefaultMaxFrame].
	MetaBudget = "plinth-budget"
	// MetaUntil is when, in ms, by the same clock as the times of the call, a write
	// is too late to be begun: it is then refused. A caller who repeats a write with
	// its ID gives all attempts the same, within which the ID is remembered.
	MetaUntil = "plinth-until"
	// MetaStore is which store is meant; without it the only one that there is.
	MetaStore = "plinth-store"
	// MetaAuthorization is "Bearer " and a token.
	MetaAuthorization = "authorization"
)

// File is the file that describes the service, for reflection.
func File() string { return abipb.File_plinth_backend_v1_backend_proto.Path() }

// Of tells whether a request's method is one of the service.
func Of(method string) bool { return strings.HasPrefix(method, "/"+Service+"/") }
