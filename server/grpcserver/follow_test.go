package grpcserver_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plinthkv/plinth/internal/abi/abigrpc"
	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/server/grpcserver"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// followable serves a store with changes.
func followable(t *testing.T, edit func(*grpcserver.Config)) (*served, *wrappers.Hub) {
	b := memory.New(memory.DefaultConfig(), sdk.Env{Now: time.Now})
	t.Cleanup(func() { b.Close(context.Background()) })
	hub := wrappers.NewHub(b)
	hub.KeepChanges(time.Now)
	store := storage.New(hub.Backend(), storage.Settings{Clock: time.Now})
	s := serve(t, func(c *grpcserver.Config, settings *grpcserver.Settings) {
		settings.Stores = map[string]*storage.Store{"s": store}
		if edit != nil {
			edit(c)
		}
	})
	s.store = store
	return s, hub
}

// follow opens a stream of changes.
func (s *served) follow(ctx context.Context, q storage.ChangeQuery) grpc.ClientStream {
	s.t.Helper()
	stream, err := s.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, abigrpc.MethodFollow, grpc.ForceCodecV2(abigrpc.NewCodec()))
	must(s.t, err)
	must(s.t, stream.SendMsg(&abigrpc.ChangesRequest{Query: q}))
	must(s.t, stream.CloseSend())
	return stream
}

// followers waits until so many calls for changes are under way.
func followers(t *testing.T, hub *wrappers.Hub, want int64) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); hub.Feed().Followers.Load() != want; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d calls for changes are under way, want %d", hub.Feed().Followers.Load(), want)
		}
	}
}

// A stream that breaks is resumed from the last page that came: nothing is lost, and nothing
// given twice.
func TestFollowIsResumed(t *testing.T) {
	s, _ := followable(t, nil)
	now, err := s.store.Backend().Changes(t.Context(), storage.ChangeQuery{FromNow: true})
	must(t, err)
	const n = 60
	var writing sync.WaitGroup
	writing.Go(func() {
		for i := range n {
			_ = s.store.Set(context.Background(), fmt.Appendf(nil, "%02d", i), nil)
			time.Sleep(time.Millisecond)
		}
	})
	var seen []string
	for q := (storage.ChangeQuery{After: now.Next, Limit: 3}); len(seen) < n; {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		stream := s.follow(ctx, q)
		for pages := 0; pages < 2 && len(seen) < n; pages++ { // then it breaks
			var page abigrpc.ChangePage
			must(t, stream.RecvMsg(&page))
			for _, c := range page.Changes {
				seen = append(seen, string(c.Key))
			}
			q.After = page.Next
		}
		cancel()
	}
	writing.Wait()
	for i, key := range seen {
		if key != fmt.Sprintf("%02d", i) {
			t.Fatalf("change %d is of %s, of %v", i, key, seen)
		}
	}
}

// A follower that never reads holds no writer up, and is disconnected.
func TestAFollowerThatNeverReads(t *testing.T) {
	s, hub := followable(t, func(c *grpcserver.Config) { c.WriteTimeout = 300 * time.Millisecond })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	stream := s.follow(ctx, storage.ChangeQuery{FromNow: true, Limit: 1})
	followers(t, hub, 1)
	value := bytes.Repeat([]byte("x"), 3<<10) // less than an answer whose reading is waited for
	for i := range 300 {
		began := time.Now()
		must(t, s.store.Set(t.Context(), fmt.Append(nil, i), value))
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("a write takes %s", took)
		}
	}
	time.Sleep(600 * time.Millisecond)
	read := 0
	for {
		var page abigrpc.ChangePage
		if err := stream.RecvMsg(&page); err != nil {
			if code := status.Code(err); code != codes.Canceled && code != codes.Unavailable {
				t.Errorf("it ends with %v", err)
			}
			break
		}
		read += len(page.Changes)
	}
	if read > 150 {
		t.Errorf("it was given %d changes before it was disconnected", read)
	}
	followers(t, hub, 0)
}

// Followers that hang up leave nothing behind, and those that stay go on.
func TestFollowersHangUp(t *testing.T) {
	s, hub := followable(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	for range 50 {
		s.follow(ctx, storage.ChangeQuery{FromNow: true})
	}
	stays := s.follow(t.Context(), storage.ChangeQuery{FromNow: true})
	followers(t, hub, 51)
	cancel()
	followers(t, hub, 1)
	must(t, s.store.Set(t.Context(), []byte("k"), nil))
	for found := false; !found; {
		var page abigrpc.ChangePage
		must(t, stays.RecvMsg(&page))
		found = len(page.Changes) == 1 && string(page.Changes[0].Key) == "k"
	}
	s.conn.Close()
	followers(t, hub, 0)
}
