package abigrpc

import "github.com/plinthkv/plinth/storage"

// Settles reports whether a server that refuses a write with e, under a MetaUntil,
// refuses all further attempts of it too. The other refusals may pass.
func Settles(e *storage.Error) bool {
	if e.Unknown {
		return false
	}
	switch e.Code {
	case storage.Conflict, storage.InvalidArgument, storage.SizeLimit, storage.Unsupported, storage.PermissionDenied, storage.NoSpace:
		return true
	}
	return false
}
