package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/plugins/pebble"
	"github.com/plinthkv/plinth/server"
	"github.com/plinthkv/plinth/server/grpcserver"
	"github.com/plinthkv/plinth/storage"
)

// asProgram has this program be the one that it tests.
const asProgram = "FOLLOW_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// source serves a store of users over gRPC.
func source(t *testing.T) (users *storage.Store, address string) {
	t.Helper()
	h, err := plinth.Open(t.Context(), "", plinth.WithContent([]byte("stores: { users: { backend: { plugin: memory } } }")))
	if err != nil {
		t.Fatal(err)
	}
	store, err := h.Store("users")
	if err != nil {
		t.Fatal(err)
	}
	srv, err := grpcserver.New(grpcserver.Config{Listener: server.Listener{Address: "127.0.0.1:0"}},
		grpcserver.Settings{Stores: map[string]*storage.Store{"users": store.Store}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	var l net.Listener
	if l, err = srv.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		<-ended
		h.Close(context.Background())
	})
	return store.Store, l.Addr().String()
}

// The program is killed again and again while users move, and its index is of the users in
// the end.
func TestKilled(t *testing.T) {
	users, address := source(t)
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "index"), 0o700); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "follow.yaml")
	yaml, err := os.ReadFile("follow.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, bytes.ReplaceAll(yaml, []byte("127.0.0.1:7420"), []byte(address)), 0o600); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 1))
	for range 20 {
		cmd := exec.Command(os.Args[0], config)
		cmd.Env = append(os.Environ(), asProgram+"=1")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(time.Duration(100+r.IntN(100)) * time.Millisecond); time.Now().Before(end); time.Sleep(time.Millisecond) {
			move(t, r, users)
		}
		cmd.Process.Kill()
		cmd.Wait()
	}
	compare(t, users, config)
}

// move has a user move, or leave.
func move(t *testing.T, r *rand.Rand, users *storage.Store) {
	key := []byte(fmt.Sprintf("user/%04d", r.IntN(5000)))
	var err error
	switch r.IntN(8) { // most users move once at most, so that what is missed stays missed
	case 0:
		err = users.Delete(t.Context(), key)
	case 1:
		_, err = users.ClearRange(t.Context(), key, append(key[:len(key)-1:len(key)-1], '9'+1))
	default:
		err = users.Set(t.Context(), key, fmt.Appendf(nil, `{"city":"c%d"}`, r.IntN(5)))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// compare has the program catch up, and compares its index with the users.
func compare(t *testing.T, users *storage.Store, config string) {
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, config) }()
	time.Sleep(2 * time.Second)
	stop()
	<-ended
	h, err := plinth.Open(t.Context(), config, plinth.WithBackend("pebble", pebble.Open, plinth.TriedBy(pebble.Info)))
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close(t.Context())
	index, err := h.Store("index")
	if err != nil {
		t.Fatal(err)
	}
	got, want := map[string]string{}, map[string]string{}
	for it, err := range index.Prefix(t.Context(), byCity, storage.RangeOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		city, name, _ := bytes.Cut(bytes.TrimPrefix(it.Key, byCity), []byte("/"))
		got[string(name)] = string(city)
	}
	for it, err := range users.Prefix(t.Context(), []byte("user/"), storage.RangeOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		var city string
		fmt.Sscanf(string(it.Value), `{"city":"c%1s`, &city)
		want[string(bytes.TrimPrefix(it.Key, []byte("user/")))] = "c" + city
	}
	if len(want) == 0 || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the index has %v, the users are %v", got, want)
	}
}
