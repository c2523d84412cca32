// Package storage is the contract of Plinth: the interface that every backend
// implements, every wrapper decorates and every carrier transports, and the
// [Store] that applications call. It imports the standard library only.
//
// # For authors of a backend
//
// Implement [Backend] and run storage/storagetest over it. The rules, all of
// which that kit tests:
//
//   - Keys and values are arbitrary bytes; both may be empty. Keys compare as
//     unsigned bytes, a prefix first. An empty value is a value: a key that
//     holds it is present.
//   - An item whose ExpiresAt is at or before now is absent everywhere: for
//     Get, GetMany, Scan and for every check. Nothing but time and writes
//     changes an expiry; a put replaces it, also with none.
//   - Arguments are borrowed until the call returns: copy what you keep.
//     Results belong to the caller: never hand out what you will change.
//   - Apply is all or nothing. Checks see the state before the write set; then
//     its ops run in order, so that the later op on one key wins.
//   - Versions are store-wide. An Apply that changes something gets one greater
//     than all before and writes it into every item that it touches; an Apply
//     that changes nothing (a delete of an absent key, a write set without ops)
//     answers the current one. They never repeat, also across delete, re-create
//     and restart: a backend that forgets starts at [FirstVersion].
//   - Where you lack an ability, leave its bit out of [Info].Caps and answer
//     [ErrUnsupported]; where you have a limit, state it in [Info].Limits and
//     check it before any work ([WriteSet.Validate] and [Limits] do most of it).
//   - Every method may be called from many goroutines at once, and honours its
//     context wherever it can wait. An Apply whose context has ended before does
//     nothing, and answers Canceled or Timeout.
//   - A write that may have happened although the call failed answers
//     [OutcomeUnknown]; every other error means that nothing was written.
//   - Close is idempotent. Afterwards every call answers [ErrShuttingDown].
//
// Embed [UnimplementedBackend], so that a method added to the interface later
// does not break your build. A wrapper never embeds: it writes every method out.
//
// # For applications
//
// [New] makes a [Store] of a backend, and a host's stores are ones. Get, Set and Delete
// are the short forms. Put and Remove take what may be wanted more, and return the version
// that they landed at:
//
//	v, err := store.Put(ctx, key, value, storage.IfAbsent(), storage.WithTTL(time.Hour))
//	…
//	v, err = store.Put(ctx, key, value, storage.IfVersion(v)) // or ErrConflict
//
// Range iterates, [Store.Update] runs a transaction, whose [Txn] has the same verbs ([KV]),
// and [GetJSON], [SetJSON], [PutJSON] and [UpdateJSON] hold values as JSON. Errors are
// matched by errors.Is with [ErrNotFound] and its siblings, which are codes; [CodeOf],
// [Unknown] and [AsError] say more of any error.
package storage
