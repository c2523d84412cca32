package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"
)

type getCmd struct {
	Target target `embed:""`
	Key    string `arg:"" help:"The key."`
}

func (g *getCmd) Run(ctx context.Context, e env) error {
	c, err := g.Target.client()
	if err != nil {
		return err
	}
	res, err := c.do(ctx, http.MethodGet, keyPath([]byte(g.Key)), nil, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err = io.Copy(e.stdout, res.Body); err == nil && isTerminal(e.stdout) {
		fmt.Fprintln(e.stdout)
	}
	return err
}

type setCmd struct {
	Target target         `embed:""`
	Key    string         `arg:"" help:"The key."`
	Value  string         `arg:"" help:"The value; \"-\" reads it from standard input."`
	TTL    *time.Duration `name:"ttl" help:"How long the item lives, such as 90s or 24h; 0s removes it."`
}

func (s *setCmd) Run(ctx context.Context, e env) error { return s.put(ctx, e, nil) }

func (s *setCmd) put(ctx context.Context, e env, header http.Header) error {
	c, err := s.Target.client()
	if err != nil {
		return err
	}
	value := []byte(s.Value)
	if s.Value == "-" {
		if value, err = io.ReadAll(e.stdin); err != nil {
			return fmt.Errorf("standard input: %w", err)
		}
	}
	q := url.Values{}
	if s.TTL != nil {
		if *s.TTL < 0 {
			return usagef("--ttl is negative: %s", *s.TTL)
		}
		q.Set("ttl", s.TTL.String())
	}
	return c.call(ctx, http.MethodPut, withQuery(keyPath([]byte(s.Key)), q), header, bytes.NewReader(value))
}

type deleteCmd struct {
	Target target `embed:""`
	Key    string `arg:"" help:"The key."`
}

func (d *deleteCmd) Run(ctx context.Context) error {
	c, err := d.Target.client()
	if err != nil {
		return err
	}
	return c.call(ctx, http.MethodDelete, keyPath([]byte(d.Key)), nil, nil)
}

type casCmd struct {
	Set     setCmd  `embed:""`
	Absent  bool    `help:"Expect that the key is absent." xor:"expected"`
	Present bool    `help:"Expect that the key is present." xor:"expected"`
	Version *uint64 `help:"Expect this version." xor:"expected"`
	Expect  *string `help:"Expect this value." xor:"expected"`
}

func (c *casCmd) Run(ctx context.Context, e env) error {
	header := http.Header{}
	switch {
	case c.Absent:
		header.Set("If-None-Match", "*")
	case c.Present:
		header.Set("If-Match", "*")
	case c.Version != nil:
		header.Set("If-Match", strconv.Quote(strconv.FormatUint(*c.Version, 10)))
	case c.Expect != nil:
		return c.byValue(ctx, e)
	default:
		return usagef("cas needs one of --absent, --present, --version and --expect")
	}
	return c.Set.put(ctx, e, header)
}

// byValue is an apply of one check and one put: HTTP's conditions know versions only.
func (c *casCmd) byValue(ctx context.Context, e env) error {
	api, err := c.Set.Target.client()
	if err != nil {
		return err
	}
	value := []byte(c.Set.Value)
	if c.Set.Value == "-" {
		if value, err = io.ReadAll(e.stdin); err != nil {
			return fmt.Errorf("standard input: %w", err)
		}
	}
	put := object{}.field("op", "put").bytes("key", []byte(c.Set.Key)).bytes("value", value)
	if c.Set.TTL != nil {
		put = put.field("ttl", c.Set.TTL.String())
	}
	check := object{}.bytes("key", []byte(c.Set.Key)).bytes("value", []byte(*c.Expect))
	return api.apply(ctx, []object{check}, []object{put})
}

type scanCmd struct {
	Target  target `embed:""`
	Bounds  bounds `embed:""`
	Limit   int    `help:"Most items; 0: all."`
	Reverse bool   `help:"From the end."`
	Keys    bool   `help:"Write keys only, one on each line."`
	JSON    bool   `name:"json" help:"Write each item as a JSON object."`
}

func (s *scanCmd) Run(ctx context.Context, e env) error {
	q := s.Bounds.query()
	if s.Limit < 0 {
		return usagef("--limit is negative")
	}
	if s.Limit > 0 {
		q.Set("limit", strconv.Itoa(s.Limit))
	}
	if s.Reverse {
		q.Set("reverse", "true")
	}
	if s.Keys {
		q.Set("keys_only", "true")
	}
	return scanTo(ctx, s.Target, q, func(l line) error {
		if s.JSON {
			return l.writeJSON(e.stdout)
		}
		out := append([]byte{}, l.key...)
		if !s.Keys {
			out = append(append(out, '\t'), l.value...)
		}
		_, err := e.stdout.Write(append(out, '\n'))
		return err
	})
}

type clearCmd struct {
	Target target `embed:""`
	Bounds bounds `embed:""`
	All    bool   `help:"Remove every key there is."`
}

func (cl *clearCmd) Run(ctx context.Context) error {
	q := cl.Bounds.query()
	switch {
	case len(q) == 0 && !cl.All:
		return usagef("clear needs --prefix, --start, --end or --all")
	case len(q) > 0 && cl.All:
		return usagef("--all excludes --prefix, --start and --end")
	case cl.All:
		q.Set("all", "true")
	}
	c, err := cl.Target.client()
	if err != nil {
		return err
	}
	return c.call(ctx, http.MethodDelete, withQuery("/keys", q), nil, nil)
}

// isTerminal tells whether people look at w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
