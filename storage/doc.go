// Package storage is the contract of Plinth: the interface that every backend implements,
// every wrapper decorates and every carrier transports, and the [Store] that applications
// call. It imports the standard library only.
//
// # For authors of a backend
//
// Implement [Backend] and run storage/storagetest over it. That kit tests all of these
// rules:
//
//   - Keys and values are arbitrary bytes; both may be empty. Keys compare as unsigned
//     bytes, a prefix first. An empty value is a value: its key is present.
//   - An item whose ExpiresAt is at or before now is absent everywhere: for Get, GetMany,
//     Scan and for every check. Only time and writes change an expiry; a put replaces it,
//     also with none.
//   - Arguments are borrowed until the call returns: copy what you keep. Results belong
//     to the caller: never return what you will change.
//   - Apply is all or nothing. Checks see the state before the write set; then its ops
//     run in order, so the last op on a key wins.
//   - Versions are store-wide. An Apply that changes something gets a version greater
//     than all earlier ones and writes it into every item that it puts; an Apply that
//     changes nothing (a delete of an absent key, a write set without ops) returns the
//     current one. Versions never repeat, not after delete and re-create, and not after a
//     restart: a backend that forgets starts at [FirstVersion].
//   - If you lack an ability, leave its bit out of [Info].Caps and return
//     [ErrUnsupported]. If you have a limit, state it in [Info].Limits and check it
//     before any work ([WriteSet.Validate] and [Limits] do most of it).
//   - Every method may be called from many goroutines at once, and honours its context
//     wherever it can wait. An Apply whose context has already ended does nothing, and
//     returns Canceled or Timeout.
//   - A write that may have happened although the call failed returns [OutcomeUnknown];
//     every other error means that nothing was written.
//   - Close is idempotent. Afterwards every call returns [ErrShuttingDown].
//
// Embed [UnimplementedBackend], so that a method added to the interface later does not
// break your build. A wrapper never embeds: it writes every method out.
//
// # For applications
//
// [New] makes a [Store] of a backend; a host has stores too. Get, Set and Delete are the
// short forms. Put and Remove accept options and conditions, and return the new version:
//
//	v, err := store.Put(ctx, key, value, storage.IfAbsent(), storage.WithTTL(time.Hour))
//	…
//	v, err = store.Put(ctx, key, value, storage.IfVersion(v)) // or ErrConflict
//
// Range iterates, [Store.Update] runs a transaction, whose [Txn] has the same verbs
// ([KV]), and [GetJSON], [SetJSON], [PutJSON] and [UpdateJSON] store values as JSON.
// Match errors by errors.Is with [ErrNotFound] and the other codes; [CodeOf], [Unknown]
// and [AsError] return more about an error.
package storage
