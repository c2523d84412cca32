package server_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/server"
	"github.com/plinthkv/plinth/storage"
)

// Stores of a host, served below a path of a program's own HTTP server.
func ExampleServer_Handler() {
	ctx := context.Background()
	h, err := plinth.Open(ctx, "") // one store, "default", in memory
	if err != nil {
		panic(err)
	}
	defer h.Close(ctx)
	stores := map[string]*storage.Store{}
	for _, s := range h.Stores() {
		stores[s.Name()] = s.Store
	}
	srv, err := server.New(server.Config{}, server.Settings{Stores: stores})
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/kv/", http.StripPrefix("/kv", srv.Handler()))
	web := httptest.NewServer(mux)
	defer web.Close()

	key := web.URL + "/kv/v1/stores/default/keys/hello"
	request, err := http.NewRequest(http.MethodPut, key, strings.NewReader("world"))
	if err != nil {
		panic(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		panic(err)
	}
	answer.Body.Close()
	if answer, err = http.Get(key); err != nil {
		panic(err)
	}
	defer answer.Body.Close()
	value, err := io.ReadAll(answer.Body)
	fmt.Printf("%s: %s, %v\n", answer.Status, value, err)
	// Output: 200 OK: world, <nil>
}
