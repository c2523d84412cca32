package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

// A request of the service is one tree: its own span, the store's below it, and
// the plugin's below that. Reads from the cache never reach the plugin.
func TestTraces(t *testing.T) {
	spans := tracetest.NewInMemoryExporter()
	s, err := newService(t.Context(), sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)))
	if err != nil {
		t.Fatal(err)
	}
	defer s.close(context.Background())
	web := httptest.NewServer(s.handler())
	defer web.Close()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for _, c := range []struct {
		method, path string
		status       int
		want         string
	}{
		{http.MethodPut, "/links/go", http.StatusCreated, "PUT /links/{name}(compare_and_set links(plinth.native apply), get reserved(plinth.native get))"},
		{http.MethodPut, "/links/go", http.StatusConflict, "PUT /links/{name}(compare_and_set links(plinth.native apply), get reserved(plinth.native get))"},
		{http.MethodPut, "/links/login", http.StatusForbidden, "PUT /links/{name}(get reserved(plinth.native get))"},
		{http.MethodGet, "/links/go", http.StatusFound, "GET /links/{name}(get links(plinth.native get))"},
		{http.MethodGet, "/links/go", http.StatusFound, "GET /links/{name}(get links)"},
		{http.MethodGet, "/links/absent", http.StatusNotFound, "GET /links/{name}(get links(plinth.native get))"},
	} {
		spans.Reset()
		req, err := http.NewRequestWithContext(t.Context(), c.method, web.URL+c.path, strings.NewReader("https://go.dev"))
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != c.status {
			t.Errorf("%s %s: %s", c.method, c.path, res.Status)
		}
		if got := tree(spans.GetSpans(), trace.SpanID{}); got != c.want {
			t.Errorf("%s %s: %s\nwant %s", c.method, c.path, got, c.want)
		}
	}
	res, err := http.Get(web.URL + "/stats")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	for _, want := range []string{`"compare_and_set":{"conflicts":1,"count":2,"errors":0`, `"get":{"conflicts":0,"count":3,"errors":0,"not_found":1`} {
		if !strings.Contains(string(body), want) {
			t.Errorf("%s is not in %s", want, body)
		}
	}
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
