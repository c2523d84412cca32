package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/plinthkv/plinth/config"
	"github.com/plinthkv/plinth/host"
	"github.com/plinthkv/plinth/storage"
)

// status is the answer of /v1/admin/status.
type status struct {
	Version    string         `json:"version"`
	Config     string         `json:"config,omitempty"` // path of the file
	Generation int            `json:"generation"`
	Since      time.Time      `json:"since"`
	Reload     *reloadOutcome `json:"last_reload,omitempty"` // there was none, if absent
	Stores     []storeStatus  `json:"stores"`
	Plugins    []pluginStatus `json:"plugins"`
}

type reloadOutcome struct {
	At      time.Time `json:"at"`
	Seconds float64   `json:"took_seconds"`
	OK      bool      `json:"ok"`
	Errors  []string  `json:"errors,omitempty"`
	Changes string    `json:"changes,omitempty"`
}

type storeStatus struct {
	Name         string   `json:"name"`
	Plugin       string   `json:"plugin"`
	Carrier      string   `json:"carrier,omitempty"`
	Stages       []string `json:"stages"`
	Shared       bool     `json:"shared"`
	Capabilities []string `json:"capabilities"`
	Status       string   `json:"status"`
	Reason       string   `json:"reason,omitempty"`
}

type pluginStatus struct {
	Name     string     `json:"name"`
	Carrier  string     `json:"carrier,omitempty"`
	SHA256   string     `json:"sha256,omitempty"`
	Stores   []string   `json:"stores"`
	State    string     `json:"state,omitempty"`
	Reason   string     `json:"reason,omitempty"`
	Since    *time.Time `json:"since,omitempty"`
	Restarts int        `json:"restarts"`
	LastLoss string     `json:"last_loss,omitempty"`
	RetryAt  *time.Time `json:"retry_at,omitempty"`
}

// changesAnswer is the answer of a reload, or of a planned one.
type changesAnswer struct {
	Generation int          `json:"generation"`
	Changes    host.Changes `json:"changes"`
}

// mostConfig limits the configuration of a plan, in bytes: one more than a
// configuration may have. mostAdmin limits the requests that are answered at once.
const (
	mostConfig = 1<<20 + 1
	mostAdmin  = 32
	planTime   = 10 * time.Second // for a caller to send a configuration
)

// admin returns the handler of the paths below /v1/admin/.
func (r *reloader) admin() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/admin/status", func(w http.ResponseWriter, req *http.Request) {
		answerJSON(w, http.StatusOK, r.status(req.Context()))
	})
	mux.HandleFunc("POST /v1/admin/reload", func(w http.ResponseWriter, req *http.Request) {
		changes, err := r.reload(context.WithoutCancel(req.Context())) // a caller who leaves ends no reload
		r.answer(w, changes, err)
	})
	mux.HandleFunc("POST /v1/admin/plan", func(w http.ResponseWriter, req *http.Request) {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(planTime)) // not every test's writer has one
		content, err := io.ReadAll(http.MaxBytesReader(w, req.Body, mostConfig))
		if err != nil {
			problemJSON(w, http.StatusRequestEntityTooLarge, "size_limit", err.Error())
			return
		}
		if len(content) == 0 {
			content = nil
		}
		changes, err := r.plan(req.Context(), content)
		r.answer(w, changes, err)
	})
	mux.HandleFunc("POST /v1/admin/plugins/{name}/restart", func(w http.ResponseWriter, req *http.Request) {
		changes, err := r.host.RestartPlugin(context.WithoutCancel(req.Context()), req.PathValue("name"))
		r.answer(w, changes, err)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		problemJSON(w, http.StatusNotFound, "not_found", "no such path, or not for this method")
	})
	places := make(chan struct{}, mostAdmin)
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
			mux.ServeHTTP(w, req)
		default:
			w.Header().Set("Retry-After", "1")
			problemJSON(w, http.StatusServiceUnavailable, storage.Unavailable.Name(), "too many administrative requests at once")
		}
	})
}

func (r *reloader) answer(w http.ResponseWriter, changes host.Changes, err error) {
	if err == nil {
		n, _ := r.host.Generation()
		answerJSON(w, http.StatusOK, changesAnswer{n, changes})
		return
	}
	status, code := http.StatusUnprocessableEntity, storage.CodeOf(err)
	if code == storage.ShuttingDown {
		status = http.StatusServiceUnavailable
	}
	var listed config.Errors
	if errors.As(err, &listed) {
		code = storage.InvalidArgument
	}
	problemJSON(w, status, code.Name(), withoutSecrets(err.Error()))
}

func answerJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(v) // the caller may be gone
}

func problemJSON(w http.ResponseWriter, status int, code, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(problem{Title: http.StatusText(status), Detail: detail, Code: code, Status: status})
}

// status returns the status of the host.
func (r *reloader) status(ctx context.Context) status {
	s := status{Version: version(), Config: r.host.Config().File(), Stores: []storeStatus{}, Plugins: []pluginStatus{}}
	s.Generation, s.Since = r.host.Generation()
	if last := r.host.Reloaded(); !last.At.IsZero() {
		s.Reload = outcome(last)
	}
	health := r.host.Health(ctx, storage.Readiness)
	for _, store := range r.host.Stores() {
		h := health.Stores[store.Name()]
		s.Stores = append(s.Stores, storeStatus{Name: store.Name(), Plugin: store.Plugin(), Carrier: store.Carrier(), Stages: append([]string{}, store.Stages()...),
			Shared: store.Shared(), Capabilities: append([]string{}, store.Info().Caps.Names()...), Status: h.Status.String(), Reason: h.Reason})
	}
	for _, p := range r.host.Plugins() {
		s.Plugins = append(s.Plugins, pluginStatus{Name: p.Plugin, Carrier: p.Carrier, SHA256: p.SHA256, Stores: append([]string{}, p.Stores...), State: p.State,
			Reason: p.Reason, Since: unlessZero(p.Since), Restarts: p.Restarts, LastLoss: p.LastLoss, RetryAt: unlessZero(p.RetryAt)})
	}
	return s
}

func outcome(r host.Reload) *reloadOutcome {
	o := &reloadOutcome{At: r.At, Seconds: r.Took.Seconds(), OK: r.Err == nil}
	if r.Err != nil {
		o.Errors = strings.Split(withoutSecrets(r.Err.Error()), "\n")
		o.Errors = slices.DeleteFunc(o.Errors, func(line string) bool { return strings.TrimSpace(line) == "" })
		return o
	}
	o.Changes = r.Changes.String()
	return o
}

func unlessZero(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
