package etcd

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// format is the number of the layout below a prefix: whoever changes any of it counts that
// up. The marker says it, with an ID that the store has for good: "plinth 1 HEX".
const format = 1

// claim reads what the store is, or says it of a new one.
func (b *Backend) claim(ctx context.Context) error {
	for range 3 { // hosts may be about to make the same one
		answer, err := b.ranges(ctx, &pb.RangeRequest{Key: b.space.marker})
		if err != nil {
			return atConfig(err)
		}
		if len(answer.Kvs) > 0 {
			b.born = answer.Kvs[0].CreateRevision
			return b.identify(string(answer.Kvs[0].Value))
		}
		if err := b.found(ctx); err != nil {
			return atConfig(err)
		}
	}
	return storage.Errorf(storage.Unavailable, "the store's marker comes and goes")
}

// found makes a store, unless there is one or anything else below the prefix. That another
// host may be first is no error, nor that the outcome is unknown.
func (b *Backend) found(ctx context.Context) error {
	var id [16]byte
	_, _ = rand.Read(id[:]) // it does not fail
	prefix := []byte(b.config.Prefix)
	r := &pb.TxnRequest{
		Compare: []*pb.Compare{{Key: prefix, RangeEnd: storage.PrefixEnd(prefix), Target: pb.Compare_CREATE, Result: pb.Compare_EQUAL, TargetUnion: &pb.Compare_CreateRevision{}}},
		Success: []*pb.RequestOp{opPut(b.space.marker, fmt.Appendf(nil, "plinth %d %x", format, id), 0)},
		Failure: []*pb.RequestOp{opGet(b.space.marker)},
	}
	t := b.begin(ctx, time.Duration(b.config.Timeouts.Write))
	for {
		ctx, cancel := t.attempt(false)
		answer, err := b.kv.Txn(ctx, r)
		cancel()
		again, err := t.answered(answer.GetHeader(), err)
		switch {
		case again:
			continue
		case err != nil:
			return err
		case !answer.Succeeded && first(answer.Responses[0]) == nil:
			return sdk.ConfigErrorf("prefix", "the prefix %q has keys, and no marker of a store: another program uses it, or a store whose prefix is longer", b.config.Prefix)
		}
		return nil
	}
}

// identify returns what a marker says.
func (b *Backend) identify(marker string) error {
	var have int
	var text string
	if n, err := fmt.Sscanf(marker, "plinth %d %s", &have, &text); err != nil || n != 2 {
		return sdk.ConfigErrorf("prefix", "the prefix %q holds a store's marker that cannot be read: another program uses it", b.config.Prefix)
	}
	if have != format {
		return sdk.ConfigErrorf("prefix", "the store at the prefix %q has the format %d, and this program knows %d: it was made by another version", b.config.Prefix, have, format)
	}
	id, err := hex.DecodeString(strings.TrimSpace(text))
	if err != nil || len(id) != 16 {
		return sdk.ConfigErrorf("prefix", "the prefix %q holds a store's marker that is damaged", b.config.Prefix)
	}
	b.identity = marker
	// A cluster that was put back from a backup has another ID.
	hash := sha256.Sum256(binary.BigEndian.AppendUint64(id, b.cluster))
	copy(b.info.Incarnation[:], hash[:])
	return nil
}

// atConfig returns err with the place in the configuration that it is about.
func atConfig(err error) error {
	e := storage.AsError(err)
	path := map[storage.Code]string{storage.Unauthenticated: "username", storage.PermissionDenied: "prefix", storage.Unavailable: "endpoints", storage.InvalidArgument: "endpoints"}[e.Code]
	if e.ConfigPath != "" || path == "" {
		return err
	}
	own := *e
	own.ConfigPath = path
	return &own
}
