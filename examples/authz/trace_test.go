package main

import (
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/plinthkv/plinth/examples/authz/token"
)

// A check is one tree of spans: the handler's, the key of its token, each read through the
// pipeline into the plugin, and the comparison of all reads in one write set at its end.
func TestTrace(t *testing.T) {
	onEach(t, func(t *testing.T, kind string) {
		spans := tracetest.NewInMemoryExporter()
		w := start(t, kind, options{tracer: sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))})
		x := w.tenant("acme")
		x.change(change{Write: []tuple{{"doc:readme", "viewer", "group:eng#member"}, {"group:eng", "member", "user:ada"}}}).must(t, http.StatusOK)

		into := "plinth." + kinds[kind].carrier
		other := x // whose key no request has asked for
		other.engine = w.newClient(x.engine.org, token.Engine, "other")
		x.admin.register(x.org, other.engine).must(t, http.StatusCreated)
		for _, c := range []struct {
			name, subject string
			by            tenant
			want          string
		}{
			{"a new key", "group:eng#member", other, "auth.get(get keys(INTO get)), get_many authz(INTO get_many)"},
			{"direct", "group:eng#member", x, "get_many authz(INTO get_many)"},
			{"indirect", "user:ada", x, "commit authz(INTO apply), get_many authz(INTO get_many), get_many authz(INTO get_many), scan authz(INTO scan)"},
		} {
			spans.Reset()
			c.by.check("doc:readme", "viewer", c.subject).must(t, http.StatusOK)
			want := "POST /engine/v1/vaults/{vault}/check(" + strings.ReplaceAll(c.want, "INTO", into) + ")"
			if got := tree(spans.GetSpans(), trace.SpanID{}); got != want {
				t.Errorf("%s: %s\nwant %s", c.name, got, want)
			}
		}
	})
}

// The tree in the README is the one of an indirect check with a key that was not asked for
// before, with "plinth.wasm" as on memory.
func TestTraceOfTheReadme(t *testing.T) {
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	const handler = "POST /engine/v1/vaults/{vault}/check"
	_, block, _ := strings.Cut(string(page), "```\n"+handler+"\n")
	block, _, _ = strings.Cut(block, "```")
	spans := tracetest.NewInMemoryExporter()
	w := start(t, "memory", options{tracer: sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))})
	x := w.tenant("acme")
	x.change(change{Write: []tuple{{"doc:readme", "viewer", "group:eng#member"}, {"group:eng", "member", "user:ada"}}}).must(t, http.StatusOK)
	x.engine = w.newClient(x.engine.org, token.Engine, "other")
	x.admin.register(x.org, x.engine).must(t, http.StatusCreated)
	spans.Reset()
	x.check("doc:readme", "viewer", "user:ada").must(t, http.StatusOK)
	all := spans.GetSpans()
	if got, want := drawn(all, rootOf(t, all), ""), comments.ReplaceAllString(block, "$1"); got != want {
		t.Errorf("the README draws\n%s\nand it is\n%s", want, got)
	}
}

// comments are the README's words behind a span.
var comments = regexp.MustCompile(`(?m)(\w) {3,}.*$`)

func rootOf(t *testing.T, spans tracetest.SpanStubs) trace.SpanID {
	for _, s := range spans {
		if !s.Parent.IsValid() {
			return s.SpanContext.SpanID()
		}
	}
	t.Fatal("there is no handler's span")
	return trace.SpanID{}
}

// drawn draws the spans below one in the order in which they began.
func drawn(spans tracetest.SpanStubs, below trace.SpanID, indent string) (out string) {
	var children tracetest.SpanStubs
	for _, s := range spans {
		if s.Parent.SpanID() == below {
			children = append(children, s)
		}
	}
	slices.SortFunc(children, func(a, b tracetest.SpanStub) int { return a.StartTime.Compare(b.StartTime) })
	for i, s := range children {
		branch, next := "├─ ", "│  "
		if i == len(children)-1 {
			branch, next = "└─ ", "   "
		}
		out += indent + branch + s.Name + "\n" + drawn(spans, s.SpanContext.SpanID(), indent+next)
	}
	return out
}

// tree draws the spans that have parent as theirs, and those below them.
func tree(spans tracetest.SpanStubs, parent trace.SpanID) string {
	var lines []string
	for _, s := range spans {
		if s.Parent.SpanID() != parent {
			continue
		}
		line := s.Name
		if below := tree(spans, s.SpanContext.SpanID()); below != "" {
			line += "(" + below + ")"
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return strings.Join(lines, ", ")
}
