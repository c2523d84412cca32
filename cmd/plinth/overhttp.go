package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/client"
	"github.com/plinthkv/plinth/internal/gatekeeper"
	"github.com/plinthkv/plinth/internal/strictjson"
	"github.com/plinthkv/plinth/storage"
)

// httpStore reaches a served store over HTTP.
type httpStore struct {
	http  *http.Client
	base  string // …/v1/stores/NAME
	token string
}

func (t target) overHTTP() (*httpStore, error) {
	return t.Server.http("/v1/stores/" + url.PathEscape(t.Store))
}

// http returns the server over HTTP, from a path on.
func (e endpoint) http(path string) (*httpStore, error) {
	token, err := e.token()
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{ResponseHeaderTimeout: time.Minute}
	c := &httpStore{http: &http.Client{Transport: transport, CheckRedirect: noRedirects}, token: token}
	base := strings.TrimSuffix(e.Addr, "/")
	if path, ok := strings.CutPrefix(base, "unix:"); ok {
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}
		base = "http://localhost"
	}
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, usagef("--addr %q must be http://HOST:PORT, https://HOST:PORT or unix:PATH, or the same with grpc://, grpcs:// and grpc+unix:", e.Addr)
	}
	if u.User != nil {
		return nil, usagef("--addr: a user or password before the host is not supported; use --token")
	}
	if err := e.verify(); err != nil {
		return nil, err
	}
	switch {
	case u.Scheme == "https":
		if transport.TLSClientConfig, err = e.tls().Config(u.Hostname()); err != nil {
			return nil, err
		}
	case e.tls() != (client.TLS{}):
		return nil, usagef("--addr %q: certificates require https://", e.Addr)
	}
	if token != "" && u.Scheme == "http" && !gatekeeper.Loopback(u.Hostname()) {
		return nil, usagef("--addr %q: refusing to send the token to %s in plain text: use https://", e.Addr, u.Host)
	}
	c.base = base + path
	return c, nil
}

// noRedirects leaves a redirect to the caller, for whom it is an error: a Plinth server sends
// none, and the request, with its token, is for that server alone.
func noRedirects(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// keyPath returns the path and query of one key. What a proxy or a client might fold
// or cannot be written in a path goes as base64.
func keyPath(key []byte) string {
	for _, segment := range bytes.Split(key, []byte("/")) {
		if s := string(segment); s == "." || s == ".." || s == "" {
			return "/keys/?key64=" + url.QueryEscape(base64.StdEncoding.EncodeToString(key))
		}
	}
	return "/keys/" + strings.ReplaceAll(url.PathEscape(string(key)), "%2F", "/")
}

// withQuery puts further parameters behind a path that may have some.
func withQuery(path string, q url.Values) string {
	if len(q) == 0 {
		return path
	}
	if strings.Contains(path, "?") {
		return path + "&" + q.Encode()
	}
	return path + "?" + q.Encode()
}

// query returns the bounds, in base64 where they are not text.
func (b bounds) query() url.Values {
	q := url.Values{}
	for name, v := range map[string]*string{"prefix": b.Prefix, "start": b.Start, "end": b.End} {
		switch {
		case v == nil:
		case utf8.ValidString(*v):
			q.Set(name, *v)
		default:
			q.Set(name+"64", base64.StdEncoding.EncodeToString([]byte(*v)))
		}
	}
	return q
}

// problem is the server's application/problem+json.
type problem struct {
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Code   string `json:"code"`
	Status int    `json:"status"`
}

// do sends a request and returns the response if its status is 2xx; the caller must close
// its body. Any other response is an error with its exit code.
func (c *httpStore) do(ctx context.Context, method, path string, header http.Header, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, err
	}
	for k, v := range header {
		req.Header[k] = v
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) && op.Op == "dial" {
			return nil, fmt.Errorf("cannot reach the server: %w (is \"plinth serve\" running?)", op)
		}
		if text := err.Error(); strings.Contains(text, "malformed HTTP response") || strings.Contains(text, "readLoopPeekFailLocked") { // of net/http: it spoke first
			return nil, fmt.Errorf("the server at %s does not speak HTTP: is it the address of gRPC (grpc://…)?", req.URL.Host)
		}
		return nil, err
	}
	if res.StatusCode/100 == 2 {
		return res, nil
	}
	defer res.Body.Close()
	return nil, failure(res)
}

func failure(res *http.Response) error {
	var p problem
	body, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	text := res.Status
	if json.Unmarshal(body, &p) == nil && p.Code != "" {
		if text = p.Detail; text == "" {
			text = p.Title
		}
		text = fmt.Sprintf("%s (%s)", text, p.Code)
	}
	if res.StatusCode/100 == 3 {
		text += ": the server redirects, which no Plinth server does; redirects are not followed"
	}
	if res.StatusCode == http.StatusBadRequest && bytes.Contains(body, []byte("HTTP request to an HTTPS server")) { // of net/http
		text += ": the server requires TLS: use https://" + res.Request.URL.Host
	}
	code := exitFailed
	switch {
	case res.StatusCode == http.StatusNotFound && p.Code != "unknown_store":
		code = exitNotFound
	case res.StatusCode == http.StatusPreconditionFailed:
		code = exitConflict
	}
	e := &storage.Error{Code: codeCalled(p.Code), Msg: abi.Printable(text), Unknown: p.Code == storage.OutcomeUnknown.Name()}
	if seconds, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && seconds > 0 {
		e.RetryAfter = time.Duration(seconds) * time.Second // its text says so too
		e.Msg, _, _ = strings.Cut(text, ", retry after ")
	}
	return &exitError{code, e}
}

// codeCalled returns the code with the name; Internal where none has it.
func codeCalled(name string) storage.Code {
	for c := storage.OK + 1; c.Known(); c++ {
		if c.Name() == name {
			return c
		}
	}
	return storage.Internal
}

// call sends a request like do, for answers without a body that matters.
func (c *httpStore) call(ctx context.Context, method, path string, header http.Header, body io.Reader) error {
	res, err := c.do(ctx, method, path, header, body)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, res.Body)
	return errors.Join(err, res.Body.Close())
}

func (c *httpStore) close() error {
	c.http.CloseIdleConnections()
	return nil
}

// mostInfo limits the server's answer.
const mostInfo = 64 << 10

func (c *httpStore) info(ctx context.Context) (i storage.Info, err error) {
	res, err := c.do(ctx, http.MethodGet, "", nil, nil)
	if err != nil {
		return i, err
	}
	defer res.Body.Close()
	var said struct {
		Backend      string
		Capabilities []string
		Limits       struct {
			Key, Value, Ops int
			WriteBytes      int   `json:"write_bytes"`
			TTLPrecisionMS  int64 `json:"ttl_precision_ms"`
		}
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, mostInfo)).Decode(&said); err != nil {
		return i, fmt.Errorf("read the server's response: %w", err)
	}
	i.Name = said.Backend
	for _, name := range said.Capabilities {
		c, _ := storage.ParseCap(name) // of a newer server: one that is not asked for
		i.Caps |= c
	}
	l := said.Limits
	i.Limits = storage.Limits{Key: l.Key, Value: l.Value, Ops: l.Ops, WriteBytes: l.WriteBytes, TTLPrecision: time.Duration(l.TTLPrecisionMS) * time.Millisecond}
	return i, nil
}

func (c *httpStore) get(ctx context.Context, key []byte, w io.Writer) error {
	res, err := c.do(ctx, http.MethodGet, keyPath(key), nil, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, err = io.Copy(w, res.Body)
	return err
}

// put sends a PUT with a condition; an expected value requires an apply, because HTTP's
// conditions know versions only.
func (c *httpStore) put(ctx context.Context, p newItem, e expected) error {
	header := http.Header{}
	switch e.kind {
	case storage.CheckAbsent:
		header.Set("If-None-Match", "*")
	case storage.CheckPresent:
		header.Set("If-Match", "*")
	case storage.CheckVersion:
		header.Set("If-Match", strconv.Quote(strconv.FormatUint(e.version, 10)))
	case storage.CheckValue:
		return c.putIfValue(ctx, p, e.value)
	}
	q := url.Values{}
	if p.ttl != nil {
		q.Set("ttl", p.ttl.String())
	}
	return c.call(ctx, http.MethodPut, withQuery(keyPath(p.key), q), header, bytes.NewReader(p.value))
}

func (c *httpStore) delete(ctx context.Context, key []byte) error {
	return c.call(ctx, http.MethodDelete, keyPath(key), nil, nil)
}

// putIfValue sends an apply of one put with a check of the key's value.
func (c *httpStore) putIfValue(ctx context.Context, p newItem, value []byte) error {
	var body bytes.Buffer
	w := strictjson.NewWriter(&body)
	body.WriteString(`{"checks":[`)
	w.Bytes("key", p.key)
	w.Bytes("value", value)
	if err := w.End(); err != nil {
		return err
	}
	body.WriteString(`],"ops":[`)
	w.Text("op", "put")
	w.Bytes("key", p.key)
	w.Bytes("value", p.value)
	if p.ttl != nil {
		w.Text("ttl", p.ttl.String())
	}
	if err := w.End(); err != nil {
		return err
	}
	body.WriteString(`]}`)
	return c.apply(ctx, &body)
}

func (c *httpStore) load(ctx context.Context, ops []storage.Op) error {
	var body bytes.Buffer
	w := strictjson.NewWriter(&body)
	body.WriteString(`{"ops":[`)
	for i, op := range ops {
		if i > 0 {
			body.WriteByte(',')
		}
		w.Text("op", "put")
		w.Bytes("key", op.Key)
		w.Bytes("value", op.Value)
		if !op.ExpiresAt.IsZero() {
			w.Time("expires_at", op.ExpiresAt)
		}
		if err := w.End(); err != nil {
			return err
		}
	}
	body.WriteString(`]}`)
	return c.apply(ctx, &body)
}

func (c *httpStore) clear(ctx context.Context, b bounds) error {
	q := b.query()
	if len(q) == 0 {
		q.Set("all", "true")
	}
	return c.call(ctx, http.MethodDelete, withQuery("/keys", q), nil, nil)
}

func (c *httpStore) scan(ctx context.Context, s scanQuery, each func(line) error) error {
	q := s.bounds.query()
	if s.limit > 0 {
		q.Set("limit", strconv.Itoa(s.limit))
	}
	if s.reverse {
		q.Set("reverse", "true")
	}
	if s.keysOnly {
		q.Set("keys_only", "true")
	}
	if s.at != 0 {
		q.Set("at_version", strconv.FormatUint(s.at, 10))
	}
	res, err := c.do(ctx, http.MethodGet, withQuery("/keys", q), nil, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	r := bufio.NewReaderSize(res.Body, 64<<10)
	for {
		raw, err := readLine(r)
		if err == io.EOF {
			return nil
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("the server aborted its response; see its log: %w", err)
		}
		if err != nil {
			return fmt.Errorf("read the server's response: %w", err)
		}
		l, err := parseLine(raw, s.keysOnly)
		if err != nil {
			return fmt.Errorf("the response contains a line that is not an item: %w", err)
		}
		if err := each(l); err != nil {
			return err
		}
	}
}

func (c *httpStore) version(ctx context.Context) (uint64, error) {
	res, err := c.do(ctx, http.MethodGet, withQuery("/keys", url.Values{"snapshot": {"true"}, "keys_only": {"true"}, "limit": {"1"}}), nil, nil)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	version, err := strconv.ParseUint(res.Header.Get("Plinth-Version"), 10, 64)
	if err != nil {
		return 0, errors.New("the server does not say which version it has read: it is of an older release")
	}
	return version, nil
}

// apply sends a write set.
func (c *httpStore) apply(ctx context.Context, body io.Reader) error {
	return c.call(ctx, http.MethodPost, "/apply", http.Header{"Content-Type": {"application/json"}}, body)
}
