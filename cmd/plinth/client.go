package main

import (
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
	"strings"
	"time"
	"unicode/utf8"
)

// client speaks the HTTP interface of a served store.
type client struct {
	http  *http.Client
	base  string // …/v1/stores/NAME
	token string
}

func (t target) client() (*client, error) {
	c := &client{http: &http.Client{Transport: &http.Transport{ResponseHeaderTimeout: time.Minute}}, token: t.Token}
	base := strings.TrimSuffix(t.Addr, "/")
	if path, ok := strings.CutPrefix(base, "unix:"); ok {
		c.http.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}}
		base = "http://localhost"
	}
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, usagef("--addr %q is not http://HOST:PORT, https://HOST:PORT or unix:PATH", t.Addr)
	}
	c.base = base + "/v1/stores/" + url.PathEscape(t.Store)
	return c, nil
}

// keyPath is the path and query of one key. What a proxy or a client might fold
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

// query are the bounds, in base64 where they are not text.
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

// do sends a request and answers a response of 2xx; its body is the caller's to
// close. Everything else is an error with the exit code that belongs to it.
func (c *client) do(ctx context.Context, method, path string, header http.Header, body io.Reader) (*http.Response, error) {
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
	code := exitFailed
	switch {
	case res.StatusCode == http.StatusNotFound && p.Code != "unknown_store":
		code = exitNotFound
	case res.StatusCode == http.StatusPreconditionFailed:
		code = exitConflict
	}
	return &exitError{code, errors.New(text)}
}

// call is do for answers without a body that matters.
func (c *client) call(ctx context.Context, method, path string, header http.Header, body io.Reader) error {
	res, err := c.do(ctx, method, path, header, body)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, res.Body)
	return errors.Join(err, res.Body.Close())
}
