package server

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// route finds what a request is about in its escaped path. Nothing is cleaned or
// redirected: after /keys/ every byte belongs to the key.
func (s *Server) route(w http.ResponseWriter, r *http.Request, in *inside) error {
	if r.URL.EscapedPath() == "/v1/stores" {
		c := &call{server: s, in: in, w: w, r: r}
		return c.methods(map[string]func() error{http.MethodGet: c.stores})
	}
	rest, ok := strings.CutPrefix(r.URL.EscapedPath(), "/v1/stores/")
	if !ok {
		return httpError(http.StatusNotFound, "not_found", "no such path")
	}
	escaped, rest, below := strings.Cut(rest, "/")
	name, err := url.PathUnescape(escaped)
	if err != nil {
		return badRequest("the name of the store cannot be unescaped")
	}
	store, ok := s.now().stores[name]
	if !ok {
		return httpError(http.StatusNotFound, "unknown_store", fmt.Sprintf("unknown store %.64q", name))
	}
	c := &call{server: s, in: in, store: store, w: w, r: r}
	if !below {
		return c.methods(map[string]func() error{http.MethodGet: c.describe})
	}
	if key, ok := strings.CutPrefix(rest, "keys/"); ok {
		if c.key, err = unescape(key); err != nil {
			return badRequest("the key cannot be unescaped: %s", "a % must be followed by two hex digits")
		}
		return c.methods(map[string]func() error{
			http.MethodGet: c.get, http.MethodHead: c.get, http.MethodPut: c.put, http.MethodDelete: c.delete, http.MethodPost: c.touch})
	}
	switch rest {
	case "keys":
		return c.methods(map[string]func() error{http.MethodGet: c.scan, http.MethodDelete: c.clear})
	case "changes":
		return c.methods(map[string]func() error{http.MethodGet: c.changes})
	case "get":
		return c.methods(map[string]func() error{http.MethodPost: c.getMany})
	case "apply":
		return c.methods(map[string]func() error{http.MethodPost: c.apply})
	}
	return httpError(http.StatusNotFound, "not_found", "no such path")
}

func unescape(key string) ([]byte, error) {
	plain, err := url.PathUnescape(key)
	return []byte(plain), err
}

// call holds one request to one store.
type call struct {
	server *Server
	in     *inside
	store  *storage.Store
	w      http.ResponseWriter
	r      *http.Request
	key    []byte
	query  query

	known *storage.Info // of the store, once it was asked
	sent  int64         // bytes of the answer
	took  time.Duration // that the caller took for them
}

// info returns the Info of the store, which is fetched through the pipeline once per
// request.
func (c *call) info() *storage.Info {
	if c.known == nil {
		i := c.store.Info()
		c.known = &i
	}
	return c.known
}

// methods calls the function for the request's method.
func (c *call) methods(by map[string]func() error) error {
	if f, ok := by[c.r.Method]; ok {
		return f()
	}
	var allow []string
	for _, m := range []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodPost} {
		if by[m] != nil {
			allow = append(allow, m)
		}
	}
	c.w.Header().Set("Allow", strings.Join(allow, ", "))
	return httpError(http.StatusMethodNotAllowed, "method_not_allowed", "method not allowed: this path supports "+strings.Join(allow, ", "))
}

// parseItem reads the query of a request for one key, and the key itself where it
// came as key64.
func (c *call) parseItem(names ...string) (err error) {
	if c.query, err = parseQuery(c.r.URL.RawQuery, append(names, "key64")...); err != nil {
		return err
	}
	if !c.query.has("key64") {
		return nil
	}
	if len(c.key) > 0 {
		return badRequest("key64 excludes a key in the path")
	}
	c.key, err = c.query.base64("key64")
	return err
}

// part is how much of an answer is sent at once.
const part = 64 << 10

// leastRate sets the minimum speed of reading an answer, in bytes per second: an unread
// answer occupies memory.
const leastRate = 64 << 10

// send writes a part of the answer after the other, each within the time that a
// caller has to take one: a caller that does not is cut off.
func (c *call) send(p []byte) (n int, err error) {
	control := http.NewResponseController(c.w) // not every test's writer has deadlines
	c.in.account.Leave(func() { _ = control.SetWriteDeadline(time.Unix(1, 0)) })
	defer func() {
		if slow := c.in.account.Arrived(); slow != nil && err == nil {
			err = slow
		}
	}()
	for err == nil && n < len(p) {
		patience := c.server.config.WriteTimeout
		if due := patience + time.Duration(c.sent/leastRate)*time.Second - c.took; due < patience {
			patience = due
		}
		start := time.Now()
		c.in.account.Reading(func() { _ = control.SetWriteDeadline(start.Add(patience)) })
		var sent int
		sent, err = c.w.Write(p[n:min(n+part, len(p))])
		n += sent
		c.sent += int64(sent)
		c.took += time.Since(start)
	}
	return n, err
}
