package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"

	"github.com/plinthkv/plinth/internal/ledger/verify"
	"github.com/plinthkv/plinth/plugins/ledger"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

type ledgerVerifyCmd struct {
	Key string `arg:"" optional:"" help:"Key to read and verify with the server's proof."`

	At ledgerVault `embed:""`

	From   uint64 `help:"Height of the first block." default:"1"`
	To     uint64 `help:"Height of the last block (0 = the tip)." default:"0"`
	Anchor string `help:"Trusted block, as printed by an earlier run." placeholder:"HEIGHT:HASH"`
	Nodes  bool   `help:"Only compare the configured nodes, key by key."`
	State  bool   `help:"Compare the whole state of the vault, held in memory, with its tip." default:"true" negatable:""`
}

// Help returns the text that "plinth ledger verify --help" adds.
func (*ledgerVerifyCmd) Help() string {
	return `Verifies that each block contains the transactions that its header commits to, that the headers form a chain
back from the last one (through --anchor if given), and that all entities of the vault make up the state
of its tip. It cannot verify that a single value is part of a state, because the server's proofs of that are
empty, nor who wrote it, because nothing is signed. It reports the heights that it cannot check because the server archived
no block of them. --nodes reads all keys from every configured node, and prints the keys on which
they differ. Keep the printed anchor: with it, the next run can detect a rewritten history.
Exits with 1 if a check fails.`
}

func (c *ledgerVerifyCmd) Run(ctx context.Context, e env) (err error) {
	anchor, err := parseAnchor(c.Anchor)
	if err != nil {
		return err
	}
	settings, err := c.At.settings(e)
	if err != nil {
		return err
	}
	b, err := ledger.New(ctx, settings, sdk.Env{Log: slog.New(slog.NewTextHandler(e.stderr, nil))})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close(ctx)) }()
	fmt.Fprintf(e.stdout, "vault %d of organization %d\n", settings.Vault, settings.Organization)
	if c.Nodes {
		return c.nodes(ctx, b, e.stdout)
	}
	good, err := c.blocks(ctx, b, anchor, e.stdout)
	if err != nil {
		return err
	}
	if c.State {
		a, err := b.Audit(ctx)
		if err != nil {
			return err
		}
		fmt.Fprintf(e.stdout, "state:  %s (height %d, %d entities)\n", a.State, a.Tip.Height, a.Entities)
		good = good && a.State != ledger.StateDiffers
	}
	if c.Key != "" {
		fits, err := c.key(ctx, b, e.stdout)
		if err != nil {
			return err
		}
		good = good && fits
	}
	if !good {
		return &exitError{exitFailed, errors.New("verification failed")}
	}
	return nil
}

// mostDiffer limits how many keys are printed.
const mostDiffer = 1000

// nodes compares the nodes, and prints the keys on which they differ.
func (c *ledgerVerifyCmd) nodes(ctx context.Context, b *ledger.Backend, w io.Writer) error {
	all, err := b.Compare(ctx)
	if err != nil {
		return err
	}
	good := len(all.Differ) == 0
	for i, n := range all.Nodes {
		if n.Err != nil {
			fmt.Fprintf(w, "node %d: %s: CANNOT BE CHECKED: %v\n", i+1, n.Endpoint, n.Err)
			good = false
			continue
		}
		fmt.Fprintf(w, "node %d: %s: height %d, %d entities listed", i+1, n.Endpoint, n.Height, n.Listed)
		if n.Unlisted > 0 {
			fmt.Fprintf(w, "; its list LEAVES OUT %d at least, which reads find", n.Unlisted)
			good = false
		}
		fmt.Fprintln(w)
	}
	for _, d := range all.Differ[:min(len(all.Differ), mostDiffer)] {
		fmt.Fprintf(w, "DIFFERS: %q:", d.Key)
		for i, has := range d.Has {
			switch has {
			case -1:
				fmt.Fprintf(w, " node %d unknown", i+1)
			case 0:
				fmt.Fprintf(w, " node %d absent", i+1)
			default:
				fmt.Fprintf(w, " node %d value %c", i+1, 'A'+rune(has-1)%26)
			}
		}
		fmt.Fprintln(w)
	}
	if n := len(all.Differ); n > mostDiffer {
		fmt.Fprintf(w, "and %d more keys differ\n", n-mostDiffer)
	}
	if !good {
		return &exitError{exitFailed, errors.New("the nodes differ")}
	}
	return nil
}

// parseAnchor reads HEIGHT:HASH; nil for nothing.
func parseAnchor(text string) (*verify.Anchor, error) {
	if text == "" {
		return nil, nil
	}
	height, hash, _ := strings.Cut(text, ":")
	h, err := strconv.ParseUint(height, 10, 64)
	raw, bad := hex.DecodeString(hash)
	if err != nil || bad != nil || len(raw) != len(verify.Hash{}) {
		return nil, usagef("--anchor must be HEIGHT:HASH with %d hexadecimal digits", 2*len(verify.Hash{}))
	}
	return &verify.Anchor{Height: h, Hash: verify.Hash(raw)}, nil
}

// blocks checks blocks and chain, and prints the result.
func (c *ledgerVerifyCmd) blocks(ctx context.Context, b *ledger.Backend, anchor *verify.Anchor, w io.Writer) (bool, error) {
	r, err := b.Verify(ctx, c.From, c.To, anchor)
	if err != nil {
		return false, err
	}
	fmt.Fprintf(w, "blocks: heights %d to %d, of which the server has %d", r.From, r.To, r.Blocks)
	if n := len(r.Compacted); n > 0 {
		fmt.Fprintf(w, "; %d were compacted, of which nothing can be told", n)
	}
	fmt.Fprintln(w)
	for _, wrong := range r.Wrong {
		fmt.Fprintf(w, "  WRONG: %v\n", wrong)
	}
	if n := r.Unarchived(); n > 0 {
		fmt.Fprintf(w, "  %d heights CANNOT BE CHECKED: the server archived no block of them\n", n)
	}
	if r.Blocks == 0 {
		return r.OK(), nil
	}
	if len(r.Wrong) == 0 {
		fmt.Fprintln(w, "  each holds the transactions that its header commits to")
	}
	if r.Broken != nil {
		fmt.Fprintf(w, "chain:  BROKEN: %v\n", r.Broken)
		return false, nil
	}
	fmt.Fprintf(w, "chain:  %d headers, back from block %d", len(r.Walk.Verified), r.Walk.Tip)
	switch {
	case r.Walk.Begun:
		fmt.Fprint(w, " to the first")
	case r.Walk.Anchored:
		fmt.Fprintf(w, " to the trusted block %d", anchor.Height)
	}
	fmt.Fprintln(w)
	if n := len(r.Walk.Missing); n > 0 {
		fmt.Fprintf(w, "  %d heights between have no block: of writes that it takes together the server keeps the last, and none of more than 16 KiB\n", n)
	}
	if n := len(r.Walk.Aside); n > 0 {
		fmt.Fprintf(w, "  %d blocks are not part of it: the last block does not commit to them\n", n)
	}
	if anchor != nil && !r.Walk.Anchored {
		fmt.Fprintln(w, "  the trusted block was not reached: nothing is said about it")
	}
	if r.Anchor.Height > 0 {
		fmt.Fprintf(w, "anchor: %d:%x\n", r.Anchor.Height, r.Anchor.Hash)
	}
	return r.OK(), nil
}

// key asks for one key, and says what that is worth.
func (c *ledgerVerifyCmd) key(ctx context.Context, b *ledger.Backend, w io.Writer) (bool, error) {
	v, err := b.VerifiedGet(ctx, []byte(c.Key))
	if err != nil {
		return false, err
	}
	fmt.Fprintf(w, "key:    %s at height %d\n", presence(v.Value != nil, len(v.Value)), v.Height)
	fits := v.Fits || v.Header == nil
	switch {
	case v.Header == nil:
		fmt.Fprintln(w, "  there is no header at that height")
	case v.Fits:
		fmt.Fprintln(w, "  the header at that height is what its hash says")
	default:
		fmt.Fprintln(w, "  WRONG: the header at that height is not what its hash says")
	}
	fmt.Fprintf(w, "  NOT PROVEN: %s\n", v.Why)
	if c.To > 0 {
		it, _, err := b.GetAt(ctx, []byte(c.Key), c.To)
		if err != nil && !errors.Is(err, storage.ErrNotFound) {
			return false, err
		}
		fmt.Fprintf(w, "  at height %d, by the blocks that the server kept: %s\n", c.To, presence(err == nil, len(it.Value)))
	}
	return fits, nil
}

func presence(there bool, bytes int) string {
	if !there {
		return "absent"
	}
	return fmt.Sprintf("present, %d bytes", bytes)
}
