package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/plinthkv/plinth/storage"
)

type copyCmd struct {
	Server     endpoint `embed:""`
	From       string   `required:"" help:"Store to read, at --addr unless it has its own address." placeholder:"[ADDR/]STORE"`
	To         string   `required:"" help:"Store to write, at --addr unless it has its own address." placeholder:"[ADDR/]STORE"`
	FromToken  string   `help:"Bearer token for --from. --token is sent only to --addr." env:"PLINTH_FROM_TOKEN"`
	ToToken    string   `help:"Bearer token for --to. --token is sent only to --addr." env:"PLINTH_TO_TOKEN"`
	Prefix     *string  `help:"Only keys with this prefix."`
	Resume     string   `help:"Record progress in this file, and resume from it if it exists." placeholder:"FILE" type:"given"`
	WithoutTTL bool     `name:"without-ttl" help:"Drop expiries: the copies never expire."`
	Verify     bool     `help:"Compare the stores after copying." xor:"verify"`
	VerifyOnly bool     `help:"Only compare the stores." xor:"verify"`
}

// Help returns the text that "plinth copy --help" adds.
func (*copyCmd) Help() string {
	return `For example: plinth copy --from default --to grpc://kv.example.org:7420/default

Copied items replace items of the other store with the same keys; its other keys stay. Copies keep their expiries, and get new
versions. Each page that is read is one state of the store, but the whole is not: stop its writers, or compare afterwards.
Copying again after an interruption is harmless; with --resume, it continues from where it stopped.

A comparison reads both stores in order, prints the first differences, and exits with 1 if there are any.`
}

// side is one of the two stores.
type side struct {
	target
	served
	about storage.Info
}

func (c *copyCmd) Run(ctx context.Context, e env) (err error) {
	from, err := c.target("--from", c.From, c.FromToken)
	if err != nil {
		return err
	}
	to, err := c.target("--to", c.To, c.ToToken)
	if err != nil {
		return err
	}
	switch {
	case from.String() == to.String():
		return usagef("--from and --to are the same store")
	case c.VerifyOnly && c.Resume != "":
		return usagef("--verify-only cannot be combined with --resume")
	}
	r, err := from.side(ctx)
	if err != nil {
		return fmt.Errorf("--from: %w", err)
	}
	defer func() { err = errors.Join(err, r.close()) }()
	w, err := to.side(ctx)
	if err != nil {
		return fmt.Errorf("--to: %w", err)
	}
	defer func() { err = errors.Join(err, w.close()) }()
	if !c.VerifyOnly {
		if err := c.copy(ctx, r, w, e); err != nil {
			return err
		}
	}
	if c.Verify || c.VerifyOnly {
		return ended(ctx.Done(), compare(ctx, r, w, bounds{Prefix: c.Prefix}, c.WithoutTTL, e))
	}
	return nil
}

// target returns a store as a flag names it: a name has no slash, an address may have some.
func (c *copyCmd) target(flag, named, token string) (target, error) {
	i := strings.LastIndexByte(named, '/')
	t := target{Server: c.Server, Store: named[i+1:]}
	if i >= 0 { // credentials are for --addr only
		t.Server = endpoint{Addr: named[:i], credentials: credentials{CA: c.Server.CA}}
	}
	if token != "" {
		t.Server.Token, t.Server.TokenFile = token, ""
	}
	if t.Store == "" || t.Server.Addr == "" || strings.HasSuffix(t.Server.Addr, "/") {
		return t, usagef("%s %q names no store: must be STORE or ADDR/STORE", flag, named)
	}
	return t, nil
}

func (t target) side(ctx context.Context) (*side, error) {
	s, err := t.open(ctx)
	if err != nil {
		return nil, err
	}
	info, err := s.info(ctx)
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return &side{t, s, info}, nil
}

func (c *copyCmd) copy(ctx context.Context, from, to *side, e env) error {
	if !c.WithoutTTL && !tellsExpiries(from.about) {
		return fmt.Errorf("%s does not return expiries (no expiry_on_read); use --without-ttl to copy without them", from)
	}
	b := bounds{Prefix: c.Prefix}
	j := job{Command: "copy", From: from.String(), To: to.String()}
	if c.Prefix != nil {
		j.Prefix = *c.Prefix
	}
	done, _, err := begin(c.Resume, j)
	if err != nil {
		return err
	}
	p := newProgress(e.stderr, "copied", 0)
	defer p.leave()
	defer p.count(ctx, from, rest(b, done.After))()
	err = c.items(ctx, from, to, b, done, p)
	return done.end(ended(ctx.Done(), err), "copying again stores all of them")
}

// items copies what is beyond what is done.
func (c *copyCmd) items(ctx context.Context, from, to *side, b bounds, done *resume, p *progress) error {
	p.before = done.Items
	s := sink{to: to, settled: func(ops []storage.Op, err error) error {
		if err != nil {
			return err
		}
		err = done.stored(ops)
		p.at(done.Items-p.before, done.Items-p.before)
		return err
	}}
	w := s.writer(ctx, to.about)
	for op, err := range pages(ctx, from, b, done.After) {
		if err != nil {
			return fmt.Errorf("read %s: %w", from, err)
		}
		if c.WithoutTTL {
			op.ExpiresAt = time.Time{}
		}
		if err := w.Add(ctx, op); err != nil {
			return fmt.Errorf("write %s: %w", to, cause(err))
		}
	}
	if err := w.Close(ctx); err != nil {
		return fmt.Errorf("write %s: %w", to, cause(err))
	}
	p.end(done.Items-p.before, 0)
	return nil
}
