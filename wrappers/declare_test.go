package wrappers_test

import (
	"strings"
	"testing"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// stage is a stage that does something, and where it must not stand.
func stage(name string, does wrappers.Trait, never ...wrappers.Order) wrappers.Stage {
	return wrappers.Stage{Name: name, Kind: name, Declaration: wrappers.Declaration{Does: does, Never: never}}
}

func TestJudge(t *testing.T) {
	merger, repeater := stage("merger", wrappers.Merges), stage("repeater", wrappers.Repeats)
	picky := stage("picky", 0, wrappers.Order{Under: wrappers.Merges, Refuse: true, Why: "it counts"},
		wrappers.Order{Under: wrappers.Repeats, Why: "it counts twice"})
	again := stage("again", wrappers.Repeats, wrappers.Order{Under: wrappers.Repeats, Why: "it squares"})
	warned := stage("warned", 0)
	warned.Warnings = []string{"is odd"}
	for _, c := range []struct {
		name     string
		pipeline []wrappers.Stage
		want     string // one finding each, refusals with "!"
	}{
		{"none", nil, ""},
		{"the right order", []wrappers.Stage{picky, merger, repeater}, ""},
		{"refused", []wrappers.Stage{merger, picky}, "!1 picky is below merger: it counts; the better order is picky, merger"},
		{"with one between", []wrappers.Stage{merger, warned, picky}, "1 warned: is odd|!2 picky is below merger: it counts; the better order is picky, merger, warned"},
		{"a warning", []wrappers.Stage{repeater, picky}, "1 picky is below repeater: it counts twice; the better order is picky, repeater"},
		{"both", []wrappers.Stage{repeater, merger, picky}, "!2 picky is below merger: it counts; the better order is repeater, picky, merger|2 picky is below repeater: it counts twice; the better order is picky, repeater, merger"},
		{"two of a kind", []wrappers.Stage{again, again}, "1 again is below again: it squares; remove one of the two"},
	} {
		var got []string
		for _, f := range wrappers.Judge(c.pipeline) {
			mark := ""
			if f.Refused {
				mark = "!"
			}
			got = append(got, mark+string(rune('0'+f.Stage))+" "+f.Text)
		}
		if text := strings.Join(got, "|"); text != c.want {
			t.Errorf("%s: %s", c.name, text)
		}
	}
}

// What a pipeline promises is what its backend does, and the changes of stages,
// innermost first.
func TestPromises(t *testing.T) {
	inner, outer := stage("inner", 0), stage("outer", 0)
	inner.Changes = []wrappers.Change{{Of: wrappers.Expiry, Weaker: true, How: "sooner"}}
	outer.Changes = []wrappers.Change{{Of: wrappers.Expiry, How: "later"}, {Of: wrappers.Repetition, How: "twice"}}
	all := wrappers.Promises([]wrappers.Stage{outer, inner}, wrappers.Below{Info: storage.Info{Caps: storage.CapDurable | storage.CapTTL}})
	var got []string
	for _, p := range all {
		line := p.Of.String() + ": " + p.Backend
		for _, c := range p.Changes {
			line += ", " + c.Stage + " " + c.How
		}
		got = append(got, line)
	}
	want := []string{
		"read after write: a read that begins after a write was acknowledged sees it",
		"atomicity: one key at a time: write sets of several keys are refused",
		"durability: an acknowledged write survives a crash",
		"ttl: items end at their time, to the millisecond, inner sooner, outer later",
		"retries: nothing is tried again, outer twice",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s", strings.Join(got, "\n"))
	}
}
