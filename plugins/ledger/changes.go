package ledger

import (
	"context"
	"time"

	"github.com/plinthkv/plinth/internal/ledger/ledgerpb"
	"github.com/plinthkv/plinth/storage"
)

// Changes reports that others have written to the vault, but not what: see
// [storage.CapChangeNotice]. Blocks do not have it: if the server combines writes, it keeps
// only their last block, and it keeps no block of a large write. With eventual reads, Changes
// is [storage.ErrUnsupported].
//
// The current version requires a linearizable read of the vault's height. In addition, one
// stream of announcements, shared by all callers, reports writes as they happen.
func (b *Backend) Changes(ctx context.Context, q storage.ChangeQuery) (storage.ChangePage, error) {
	if !b.info.Load().Caps.Has(storage.CapChangeNotice) {
		return storage.ChangePage{}, &storage.Error{Code: storage.Unsupported, Op: "changes", Layer: layer,
			Msg: "the server keeps no block of some writes, so that changes would be incomplete, and eventual reads may be older than a notice of a change"}
	}
	if err := q.Validate(); err != nil {
		return storage.ChangePage{}, named("changes", err)
	}
	if !b.calls.Enter() {
		return storage.ChangePage{}, errClosed("changes")
	}
	defer b.calls.Leave()
	if err := storage.ContextError(ctx); err != nil {
		return storage.ChangePage{}, named("changes", err)
	}
	own, done := b.calls.Within(ctx)
	defer done()
	var version uint64
	var err error
	if q.FromNow {
		version, err = b.current(own)
	} else {
		version, err = q.After, b.unchanged(own, q.After, min(q.Wait, storage.MostWait))
	}
	switch {
	case err == nil:
		return storage.ChangePage{Next: version}, nil
	case own.Err() != nil && ctx.Err() == nil:
		return storage.ChangePage{}, errClosed("changes")
	}
	return storage.ChangePage{}, named("changes", err)
}

// current returns the version that the vault is at.
func (b *Backend) current(ctx context.Context) (uint64, error) {
	begins, least := b.notices.use()
	if begins {
		b.spawn(b.watchBlocks)
	}
	nodes := b.pool.dialed()
	request := &ledgerpb.ReadRequest{Organization: b.organization, Vault: b.vault, Key: probeKey, Consistency: consistency, Caller: b.caller}
	answer := new(ledgerpb.ReadResponse)
	n, err := b.read(ctx, "changes", methodRead, consistency, request, answer)
	if err != nil {
		b.notices.lost() // the next answer may be from another process behind the same address
		return 0, err
	}
	b.notices.read(sight{n, answer.BlockHeight, nodes[n], n.dials.Load()}, least)
	for {
		version, changed, sure := b.notices.look(answer.BlockHeight)
		if sure {
			return version, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, storage.ContextError(ctx)
		}
	}
}

// mostWaiting bounds the calls that wait for a change at once.
const mostWaiting = 1024

// unchanged waits, and returns a VersionGone error if others may have written since a version.
func (b *Backend) unchanged(ctx context.Context, since uint64, wait time.Duration) error {
	s := &b.notices
	if !s.enter() {
		e := storage.Errorf(storage.Unavailable, "%d calls wait for changes already, which is the limit", mostWaiting)
		e.RetryAfter = time.Second
		return e
	}
	defer s.leave()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		version, changed, _ := s.look(0)
		if version != since {
			return storage.Errorf(storage.VersionGone, "others may have written since version %d: what they did is not known", since)
		}
		select {
		case <-changed:
			continue
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return storage.ContextError(ctx)
		}
	}
}
