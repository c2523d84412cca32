package etcd

import (
	"bytes"
	"context"
	"fmt"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/plinthkv/plinth/internal/changetail"
	"github.com/plinthkv/plinth/storage"
)

// watch is one watch of a range of the store's items, with a stream of its own. One caller
// receives; any may ask for progress.
type watch struct {
	b      *Backend
	stream pb.Watch_WatchClient
	cancel context.CancelFunc
	send   sync.Mutex

	at   int64            // the revision of made
	made []storage.Change // of a revision of which more may come
}

// heard holds what a watch hears: the changes of a whole revision, or that there are none up
// to one.
type heard struct {
	changes  func(version int64, changes []storage.Change) (more bool)
	progress func(version int64) (more bool)
}

// watches begins a watch of a range after a revision. It is to be canceled.
func (b *Backend) watches(ctx context.Context, from, to []byte, after int64) (*watch, error) {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := pb.NewWatchClient(b.client.ActiveConnection()).Watch(ctx)
	if err == nil {
		// Without fragments an answer might be too large to be received.
		err = stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{
			Key: from, RangeEnd: to, StartRevision: after + 1, PrevKv: true, Fragment: true}}})
	}
	if err != nil {
		cancel()
		return nil, err
	}
	return &watch{b: b, stream: stream, cancel: cancel}, nil
}

// ask asks for progress: a member answers when it has sent everything, and else not at all.
func (w *watch) ask() {
	w.send.Lock()
	defer w.send.Unlock()
	_ = w.stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}}) // who receives hears why
}

// receive passes one answer to h, as far as it is of whole revisions; more reports
// whether h wants another.
func (w *watch) receive(h heard) (more bool, err error) {
	r, err := w.stream.Recv()
	switch {
	case err != nil:
		return false, err
	case r.CompactRevision != 0:
		return false, changetail.Gone{Oldest: uint64(r.CompactRevision - 1)}
	case r.Canceled:
		return false, fmt.Errorf("the member ended the watch: %s", r.CancelReason)
	}
	if err := w.b.known(r.Header); err != nil {
		return false, err
	}
	if r.Created {
		return true, nil
	}
	if len(r.Events) == 0 {
		return h.progress(r.Header.Revision), nil
	}
	for _, e := range r.Events {
		if e.Kv.ModRevision != w.at && len(w.made) > 0 && !w.whole(h) {
			return false, nil
		}
		w.at = e.Kv.ModRevision
		c, err := w.b.change(e)
		if err != nil {
			return false, err
		}
		w.made = append(w.made, c)
	}
	return r.Fragment || w.whole(h), nil // a revision may go on in the next fragment
}

// whole passes on the revision that is complete.
func (w *watch) whole(h heard) bool {
	made := w.made
	w.made = nil
	return h.changes(w.at, made)
}

// change returns what an event of an item's key says. A delete of what had expired by now is taken
// for its end: the cluster collects it by its lease.
func (b *Backend) change(e *mvccpb.Event) (storage.Change, error) {
	c := storage.Change{Key: bytes.Clone(b.space.own(e.Kv.Key)), Version: uint64(e.Kv.ModRevision), Kind: storage.ChangeDelete}
	if e.Type == mvccpb.Event_PUT {
		r, err := read(e.Kv.Value)
		if err != nil {
			return c, err
		}
		c.Kind, c.Value, c.ExpiresAt = storage.ChangePut, r.value(), r.expiry()
		return c, nil
	}
	if e.PrevKv != nil {
		if r, err := read(e.PrevKv.Value); err == nil && !r.live(b.now()) {
			c.Kind = storage.ChangeExpired
		}
	}
	return c, nil
}

// unwatched returns why a watch ended, as a fault.
func (t *tries) unwatched(err error) fault {
	if rpctypes.Error(err) == rpctypes.ErrNoLeader {
		return refused(rpctypes.ErrNoLeader, err)
	}
	return t.judge(err, true)
}
