package ledger_test

import (
	"context"
	"fmt"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/plinthkv/plinth/internal/ledger/ledgerpb"
	"github.com/plinthkv/plinth/internal/ledger/ledgertest"
	"github.com/plinthkv/plinth/plugins/ledger"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// What the backend adds to a call of gRPC: a Get next to the bare request that it makes.
func BenchmarkGet(b *testing.B) {
	c, err := ledgertest.Start(ledgertest.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	config := ledger.DefaultConfig()
	config.Endpoints, config.Organization, config.Vault = c.Endpoints(), ledgertest.Organization, ledgertest.Vault
	l, err := ledger.New(b.Context(), config, sdk.Env{})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close(context.Background())
	var ops []storage.Op
	for i := range 1000 {
		ops = append(ops, storage.Put(fmt.Appendf(nil, "key %03d", i), make([]byte, 100)))
	}
	if _, err := l.Apply(b.Context(), &storage.WriteSet{Ops: ops}); err != nil {
		b.Fatal(err)
	}
	b.Run("backend", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := l.Get(b.Context(), []byte("key 500")); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("bare", func(b *testing.B) {
		conn, err := grpc.NewClient("passthrough:///"+c.Endpoints()[0][len("http://"):], grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
		b.ReportAllocs()
		for b.Loop() {
			request := &ledgerpb.ReadRequest{Organization: orgSlug(), Vault: vaultSlug(), Key: "6b657920353030"}
			if err := conn.Invoke(b.Context(), "/ledger.v1.ReadService/Read", request, new(ledgerpb.ReadResponse)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("put", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := l.Apply(b.Context(), &storage.WriteSet{Ops: ops[:1]}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("scan of 1000", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if page, err := l.Scan(b.Context(), storage.Query{Start: []byte("key"), End: []byte("kez")}); err != nil || len(page.Items) != 1000 {
				b.Fatal(err)
			}
		}
	})
}
