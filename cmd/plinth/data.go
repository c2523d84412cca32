package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/plinthkv/plinth/storage"
)

type getCmd struct {
	Target target `embed:""`
	Key    string `arg:"" help:"The key."`
}

func (g *getCmd) Run(ctx context.Context, e env) error {
	return g.Target.with(ctx, func(s served) error {
		err := s.get(ctx, []byte(g.Key), forPeople(e.stdout))
		if err == nil && isTerminal(e.stdout) {
			fmt.Fprintln(e.stdout)
		}
		return err
	})
}

type setCmd struct {
	Target target         `embed:""`
	Key    string         `arg:"" help:"The key."`
	Value  string         `arg:"" help:"The value; \"-\" reads it from standard input."`
	TTL    *time.Duration `name:"ttl" help:"How long the item lives, such as 90s or 24h; 0s removes it."`
}

func (s *setCmd) Run(ctx context.Context, e env) error { return s.put(ctx, e, expected{}) }

func (s *setCmd) put(ctx context.Context, e env, ex expected) error {
	if s.TTL != nil && *s.TTL < 0 {
		return usagef("--ttl is negative: %s", *s.TTL)
	}
	return s.Target.with(ctx, func(to served) error {
		value, err := readValue(s.Value, e.stdin)
		if err != nil {
			return err
		}
		return to.put(ctx, newItem{[]byte(s.Key), value, s.TTL}, ex)
	})
}

type deleteCmd struct {
	Target target `embed:""`
	Key    string `arg:"" help:"The key."`
}

func (d *deleteCmd) Run(ctx context.Context) error {
	return d.Target.with(ctx, func(s served) error { return s.delete(ctx, []byte(d.Key)) })
}

type casCmd struct {
	Set     setCmd  `embed:""`
	Absent  bool    `help:"Expect that the key is absent." xor:"expected"`
	Present bool    `help:"Expect that the key is present." xor:"expected"`
	Version *uint64 `help:"Expect this version." xor:"expected"`
	Expect  *string `help:"Expect this value." xor:"expected"`
}

func (c *casCmd) Run(ctx context.Context, e env) error {
	var ex expected
	switch {
	case c.Absent:
		ex.kind = storage.CheckAbsent
	case c.Present:
		ex.kind = storage.CheckPresent
	case c.Version != nil && *c.Version == 0:
		return usagef("--version is 0, which no item has: use --absent to expect that the key is absent")
	case c.Version != nil:
		ex.kind, ex.version = storage.CheckVersion, *c.Version
	case c.Expect != nil:
		ex.kind, ex.value = storage.CheckValue, []byte(*c.Expect)
	default:
		return usagef("cas needs one of --absent, --present, --version and --expect")
	}
	return c.Set.put(ctx, e, ex)
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
	if s.Limit < 0 {
		return usagef("--limit is negative")
	}
	return s.Target.with(ctx, func(from served) error {
		return from.scan(ctx, scanQuery{bounds: s.Bounds, limit: s.Limit, reverse: s.Reverse, keysOnly: s.Keys}, func(l line) error { return s.write(forPeople(e.stdout), l) })
	})
}

func (s *scanCmd) write(w io.Writer, l line) error {
	if s.JSON {
		return l.writeJSON(w)
	}
	out := append([]byte{}, l.key...)
	if !s.Keys {
		out = append(append(out, '\t'), l.value...)
	}
	_, err := w.Write(append(out, '\n'))
	return err
}

type clearCmd struct {
	Target target `embed:""`
	Bounds bounds `embed:""`
	All    bool   `help:"Remove every key there is."`
}

func (cl *clearCmd) Run(ctx context.Context) error {
	switch none := cl.Bounds == (bounds{}); {
	case none && !cl.All:
		return usagef("clear needs --prefix, --start, --end or --all")
	case !none && cl.All:
		return usagef("--all excludes --prefix, --start and --end")
	}
	if start, end := cl.Bounds.span(); !cl.All && len(start) == 0 && end == nil {
		return usagef("these bounds leave out nothing: to remove everything takes --all")
	}
	return cl.Target.with(ctx, func(s served) error { return s.clear(ctx, cl.Bounds) })
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
