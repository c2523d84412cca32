package main

import (
	"context"
	"crypto/rand"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/internal/carrier/wasmhost"
	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
	"github.com/plinthkv/plinth/wrappers"
)

// A wrapper of one's own is held to the same rules as all others.
func TestConformance(t *testing.T) {
	clock := storagetest.NewClock()
	storagetest.Run(t, storagetest.Factory{Clock: clock, Open: func(context.Context) (storage.Backend, error) {
		env := sdk.Env{Now: clock.Now}
		rand.Read(env.Incarnation[:])
		below := memory.New(memory.DefaultConfig(), env)
		b, err := Factory(io.Discard).Build(below, nil, wrappers.Settings{})
		return storagetest.WithClose(b, below.Close), err
	}})
}

// compiled is where compiled plugins are kept between runs: compiling takes
// seconds, under the race detector a minute.
func compiled(t *testing.T) string {
	dir, err := os.UserCacheDir()
	if dir = filepath.Join(dir, "plinth-test", "compiled"); err != nil || wasmhost.CheckCacheDir(dir) != nil {
		return t.TempDir()
	}
	return dir
}

func open(t *testing.T, out io.Writer, stages string) (*plinth.Host, error) {
	t.Helper()
	h, err := plinth.Open(t.Context(), "", plinth.WithWrappers(Factory(out)), plinth.WithCacheDir(compiled(t)),
		plinth.WithContent([]byte("stores: { default: { backend: { plugin: memory }, pipeline: "+stages+" } }")))
	if err == nil {
		t.Cleanup(func() { h.Close(context.Background()) })
	}
	return h, err
}

func TestAudit(t *testing.T) {
	var out strings.Builder
	h, err := open(t, &out, "[audit: { reads: true, prefix: u/ }]")
	if err != nil {
		t.Fatal(err)
	}
	ctx, s := t.Context(), storeOf(t, h, "default")
	s.Set(ctx, []byte("u/ada"), nil)
	s.Set(ctx, []byte("other"), nil)
	s.Put(ctx, []byte("u/ada"), nil, storage.IfAbsent())
	s.Get(ctx, []byte("u/none"))
	want := "audit: default write of 5 bytes: ok\naudit: default write of 5 bytes: conflict\naudit: default get of 6 bytes: not_found\n"
	if out.String() != want {
		t.Errorf("%s", out.String())
	}
}

// Its configuration and its place are checked like those of the built-in ones.
func TestChecked(t *testing.T) {
	for stages, want := range map[string]string{
		"[audit: { read: true }]": `unknown key "read": did you mean "reads"?`,
		"[batch, audit]":          "audit is below batch: a line could not say whose write it is; the better order is audit, batch",
	} {
		if _, err := open(t, io.Discard, stages); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", stages, err)
		}
	}
}

// storeOf is the store of that name, which has to be there.
func storeOf(t testing.TB, h *plinth.Host, name string) *plinth.Store {
	t.Helper()
	s, err := h.Store(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
