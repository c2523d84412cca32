package ledger

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/plinthkv/plinth/internal/ledger/ledgerpb"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// Verdict grades one check of a [Trial].
type Verdict uint8

// The verdicts.
const (
	TrialHolds  Verdict = iota + 1 // it is as the backend counts on
	TrialBreaks                    // it is not: the backend does wrong on such a cluster
	TrialOpen                      // cannot be determined here
)

// String returns the verdict in a word.
func (v Verdict) String() string {
	switch v {
	case TrialHolds:
		return "holds"
	case TrialBreaks:
		return "BREAKS"
	case TrialOpen:
		return "open"
	}
	return "unknown"
}

// Finding holds the result of one check, with details.
type Finding struct {
	Check   string
	Verdict Verdict
	Text    string // what was seen; empty if there is nothing to add
	Took    time.Duration
}

// Trial tries on a cluster what the backend counts on, which is known from the
// protocol's description: reads and writes, checks, ranges, expiry, repeats of
// writes, redirection, sizes. It makes a vault of its own in the organization and
// writes about two thousand keys there, some 2 MB. The vault stays: the server removes
// none.
type Trial struct {
	Config Config
	Env    sdk.Env
	// Each, if set, is called with each finding as it comes.
	Each func(Finding)

	// ttl is how long items live that expire, by default 2 s, and slack for how much
	// longer they may be there, by default 3 s: expiries are rounded up, and clocks differ.
	ttl, slack time.Duration
}

// trial is one on its way.
type trial struct {
	Trial
	b      *Backend
	small  *Backend // the same with pages of a few entities
	s      *storage.Store
	prefix string
	seen   string // by a check that holds, to be reported with it
}

// Run does the checks, each on its own, and returns their findings. It returns an error if
// nothing could be tried: the cluster cannot be opened, or ctx has ended.
func (t Trial) Run(ctx context.Context) (findings []Finding, err error) {
	if t.ttl == 0 {
		t.ttl, t.slack = 2*time.Second, 3*time.Second
	}
	var name [8]byte
	rand.Read(name[:])
	r := &trial{Trial: t, prefix: "plinth-trial/" + hex.EncodeToString(name[:]) + "/"}
	if err := r.scratch(ctx); err != nil {
		return nil, err
	}
	if r.b, err = New(ctx, r.Config, t.Env); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.b.Close(ctx)) }()
	small := r.Config
	small.PageSize, small.ChunkedClear = 7, true
	if r.small, err = New(ctx, small, t.Env); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.small.Close(ctx)) }()
	r.s = storage.New(r.b, storage.Settings{Clock: t.Env.Now})
	for _, c := range trials {
		start := time.Now()
		f := Finding{Check: c.name, Verdict: TrialHolds}
		switch note, err := c.run(r, ctx); {
		case storage.ContextError(ctx) != nil:
			return findings, storage.ContextError(ctx)
		case err != nil:
			f.Verdict, f.Text = TrialBreaks, err.Error()
		case note != "":
			f.Verdict, f.Text = TrialOpen, note
		default:
			f.Text = r.seen
		}
		r.seen = ""
		f.Took = time.Since(start)
		findings = append(findings, f)
		if t.Each != nil {
			t.Each(f)
		}
	}
	return findings, nil
}

// scratch makes the vault that the trial is on, and puts it in place of the one that is
// configured.
func (r *trial) scratch(ctx context.Context) error {
	b, err := New(ctx, r.Config, r.Env)
	if err != nil {
		return err
	}
	defer b.Close(ctx)
	slug := NewSlug(time.Now())
	request := &ledgerpb.CreateVaultRequest{Organization: b.organization, Caller: b.caller, Slug: &ledgerpb.VaultSlug{Slug: slug}}
	if err := b.extra(ctx, "try", methodCreateVault, request, new(ledgerpb.CreateVaultResponse)); err != nil {
		return fmt.Errorf("a trial needs a vault of its own, which the cluster does not make: %w", err)
	}
	r.Config.Vault = slug
	for waited := time.Duration(0); ; waited += betweenTries { // until the node that is asked has heard of it
		probe, err := New(ctx, r.Config, r.Env)
		if err == nil {
			return probe.Close(ctx)
		}
		if late := pause(ctx, betweenTries); late != nil || waited >= stepPatience {
			return errors.Join(fmt.Errorf("the trial's own vault %d: %w", slug, err), late)
		}
	}
}

func (r *trial) key(name string) []byte { return []byte(r.prefix + name) }

// want reports whether a key has a value; nil means that it is absent.
func (r *trial) want(ctx context.Context, name string, value []byte) error {
	it, err := r.b.Get(ctx, r.key(name))
	switch {
	case value == nil && errors.Is(err, storage.ErrNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("a get of %s: %w", name, err)
	case value == nil || string(it.Value) != string(value):
		return fmt.Errorf("a get of %s returned %d bytes that differ from the stored value", name, len(it.Value))
	}
	return nil
}

// wantCode reports whether an error has a code.
func wantCode(what string, err error, want storage.Code) error {
	if got := storage.CodeOf(err); got != want {
		return fmt.Errorf("%s: %s, %v; expected %s", what, got, err, want)
	}
	return nil
}
