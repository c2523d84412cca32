package main

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/plinthkv/plinth/examples/authz/engine"
	"github.com/plinthkv/plinth/examples/authz/repository"
	"github.com/plinthkv/plinth/identity"
)

// BenchmarkCheck is a check without HTTP and tokens: found at once, after one and five levels of
// groups, and not at all.
func BenchmarkCheck(b *testing.B) {
	for kind := range kinds {
		w := start(b, kind, options{})
		x := w.tenant("acme")
		graph := []tuple{{"doc:a", "viewer", "user:direct"}, {"doc:a", "viewer", "group:g1#member"}}
		for i := 1; i <= 5; i++ {
			graph = append(graph, tuple{fmt.Sprint("group:g", i), "member", fmt.Sprint("user:u", i)}, tuple{fmt.Sprint("group:g", i), "member", fmt.Sprint("group:g", i+1, "#member")})
		}
		x.change(change{Write: graph})
		vault, err := identity.Parse[identity.VaultSlug](x.vault[len("/engine/v1/vaults/"):])
		if err != nil {
			b.Fatal(err)
		}
		checker := engine.NewChecker(repository.NewRelationships(w.store), engine.DefaultLimits())
		for _, c := range []struct {
			user string
			want bool
		}{{"direct", true}, {"u1", true}, {"u5", true}, {"nobody", false}} {
			b.Run(kind+"/"+c.user, func(b *testing.B) {
				b.ReportAllocs()
				r, _ := repository.ParseRelationship("doc:a", "viewer", "user:"+c.user)
				for b.Loop() {
					a, err := checker.Check(b.Context(), repository.VaultID{Org: x.engine.org, Vault: vault}, repository.Userset{Object: r.Object, Relation: r.Relation}, r.Subject)
					if err != nil || a.Allowed != c.want {
						b.Fatal(a, err)
					}
				}
			})
		}
	}
}

// BenchmarkRequest is a check with HTTP and a token, after one level of groups, from several
// callers at once.
func BenchmarkRequest(b *testing.B) {
	for kind := range kinds {
		x := start(b, kind, options{}).tenant("acme")
		x.change(change{Write: []tuple{{"doc:a", "viewer", "group:g#member"}, {"group:g", "member", "user:ada"}}})
		bearer := "Bearer " + x.engine.token()
		b.Run(kind, func(b *testing.B) {
			b.SetParallelism(8)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if a := x.engine.w.send(http.MethodPost, x.vault+"/check", tuple{"doc:a", "viewer", "user:ada"}, "Authorization", bearer); a.body["allowed"] != true {
						b.Error(a)
						return
					}
				}
			})
		})
	}
}
