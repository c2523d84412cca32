package main

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/plinthkv/plinth/examples/authz/engine"
)

// Checks follow usersets, through cycles too. Beyond its limits a check is refused: it is
// never "no" for want of looking further.
func TestChecks(t *testing.T) { onEach(t, checks) }

func checks(t *testing.T, kind string) {
	graph := []tuple{
		{"doc:readme", "viewer", "user:ada"},
		{"doc:readme", "viewer", "group:eng#member"},
		{"group:eng", "member", "user:bob"},
		{"group:eng", "member", "group:ops#member"},
		{"group:ops", "member", "user:carol"},
		{"group:ops", "member", "group:eng#member"}, // a cycle
		{"group:own", "member", "group:own#member"}, // one of one
		{"doc:own", "viewer", "group:own#member"},
		{"doc:readme", "editor", "user:dan"},
		{"doc:rules", "viewer", "doc:rules#editor"}, // an editor is a viewer
		{"doc:rules", "editor", "user:eve"},
		{"doc:plan", "viewer", "group:eng"}, // the group itself, not its members
	}
	x := start(t, kind, options{}).tenant("acme")
	x.change(change{Write: graph}).must(t, http.StatusOK)
	other := x.engine.w.tenant("other")
	for _, c := range []struct {
		object, relation, subject string
		want                      bool
	}{
		{"doc:readme", "viewer", "user:ada", true},
		{"doc:readme", "viewer", "user:bob", true},
		{"doc:readme", "viewer", "user:carol", true},
		{"doc:readme", "viewer", "user:dan", false},
		{"doc:readme", "editor", "user:dan", true},
		{"doc:readme", "editor", "user:ada", false},
		{"doc:readme", "viewer", "group:ops#member", true}, // a userset may be asked for
		{"doc:readme", "viewer", "group:ops", false},
		{"group:own", "member", "user:ada", false},
		{"doc:own", "viewer", "user:ada", false},
		{"doc:own", "viewer", "group:own#member", true},
		{"doc:rules", "viewer", "user:eve", true},
		{"doc:rules", "editor", "user:ada", false},
		{"doc:plan", "viewer", "user:bob", false},
		{"doc:plan", "viewer", "group:eng", true},
		{"doc:read", "viewer", "user:ada", false},    // a prefix of a name is another name
		{"doc:readme", "view", "user:ada", false},    // and of a relation
		{"doc:readme", "viewer", "user:ad", false},   // and of a subject
		{"doc:readme", "viewer", "user:adam", false}, // and what it begins
	} {
		a := x.check(c.object, c.relation, c.subject).must(t, http.StatusOK)
		if a.body["allowed"] != c.want {
			t.Errorf("%s %s %s: %v", c.object, c.relation, c.subject, a.body)
		}
		if a := other.check(c.object, c.relation, c.subject).must(t, http.StatusOK); a.body["allowed"] != false {
			t.Errorf("%s %s %s in another vault: %v", c.object, c.relation, c.subject, a.body)
		}
	}
}

// A chain of 10,000 groups, and an object that has 10,000, are refused soon, and a longer
// time is not what refuses them.
func TestCheckBombs(t *testing.T) {
	const size = 10_000
	var chain, fan []tuple
	for i := range size {
		chain = append(chain, tuple{fmt.Sprintf("group:g%d", i), "member", fmt.Sprintf("group:g%d#member", i+1)})
		fan = append(fan, tuple{"doc:wide", "viewer", fmt.Sprintf("group:f%d#member", i)})
	}
	all := append(append(chain, fan...),
		tuple{"group:g5", "member", "user:near"}, tuple{"group:g9999", "member", "user:far"},
		tuple{"doc:wide", "viewer", "user:near"}, tuple{"group:f9999", "member", "user:far"})
	limits := engine.DefaultLimits()
	onEach(t, func(t *testing.T, kind string) {
		x := start(t, kind, options{}).tenant("acme")
		for part := range slices.Chunk(all, 500) {
			x.change(change{Write: part}).must(t, http.StatusOK)
		}
		for _, c := range []struct {
			object, relation, subject string
			status                    int
			code                      string
		}{
			{"group:g0", "member", "user:near", http.StatusOK, ""},
			{"group:g0", "member", "user:far", http.StatusUnprocessableEntity, "check_depth"},
			{"group:g0", "member", "user:nobody", http.StatusUnprocessableEntity, "check_depth"},
			{"group:g9990", "member", "user:far", http.StatusOK, ""},
			{"doc:wide", "viewer", "user:near", http.StatusOK, ""},
			{"doc:wide", "viewer", "user:far", http.StatusUnprocessableEntity, "check_reads"},
			{"group:f9999", "member", "user:far", http.StatusOK, ""},
		} {
			begun := time.Now()
			a := x.check(c.object, c.relation, c.subject).must(t, c.status)
			if took := time.Since(begun); took > 4*time.Second {
				t.Errorf("%+v took %s", c, took)
			}
			if a.text("code") != c.code || c.status == http.StatusOK && a.body["allowed"] != true {
				t.Errorf("%+v: %v", c, a.body)
			}
			if reads, _ := a.body["reads"].(float64); int(reads) > limits.Reads {
				t.Errorf("%+v: %v reads", c, reads)
			}
		}
	})
}
