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
	Value  string         `arg:"" help:"The value. \"-\" reads standard input."`
	TTL    *time.Duration `name:"ttl" help:"Time to live, such as 90s or 24h. 0s removes the item."`
}

func (s *setCmd) Run(ctx context.Context, e env) error { return s.put(ctx, e, expected{}) }

func (s *setCmd) put(ctx context.Context, e env, ex expected) error {
	if s.TTL != nil && *s.TTL < 0 {
		return usagef("--ttl must not be negative (got %s)", *s.TTL)
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
		return usagef("--version must be at least 1; use --absent to expect an absent key")
	case c.Version != nil:
		ex.kind, ex.version = storage.CheckVersion, *c.Version
	case c.Expect != nil:
		ex.kind, ex.value = storage.CheckValue, []byte(*c.Expect)
	default:
		return usagef("cas requires one of --absent, --present, --version and --expect")
	}
	return c.Set.put(ctx, e, ex)
}

type scanCmd struct {
	Target  target `embed:""`
	Bounds  bounds `embed:""`
	Limit   int    `help:"Maximum number of items (0 = no limit)."`
	Reverse bool   `help:"Scan in descending order."`
	Keys    bool   `help:"Write keys only, one on each line."`
	JSON    bool   `name:"json" help:"Write each item as a JSON object."`
}

func (s *scanCmd) Run(ctx context.Context, e env) error {
	if s.Limit < 0 {
		return usagef("--limit must not be negative")
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
	All    bool   `help:"Remove every key of the store."`
}

func (cl *clearCmd) Run(ctx context.Context) error {
	switch none := cl.Bounds == (bounds{}); {
	case none && !cl.All:
		return usagef("clear requires --prefix, --start, --end or --all")
	case !none && cl.All:
		return usagef("--all cannot be combined with --prefix, --start or --end")
	}
	if start, end := cl.Bounds.span(); !cl.All && len(start) == 0 && end == nil {
		return usagef("the bounds cover every key; use --all to remove everything")
	}
	return cl.Target.with(ctx, func(s served) error { return s.clear(ctx, cl.Bounds) })
}

// isTerminal reports whether people look at w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
