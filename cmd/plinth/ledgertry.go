package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/plinthkv/plinth/plugins/ledger"
	"github.com/plinthkv/plinth/sdk"
)

type ledgerTryCmd struct {
	At ledgerVault `embed:""`
}

// Help returns the text that "plinth ledger try --help" adds.
func (*ledgerTryCmd) Help() string {
	return `Verifies on your cluster the assumptions of the backend: a repeated write is applied once, nodes that do not lead
name the leader, ranges are complete among expired items, and more. It creates a vault of its own in the
organization, which remains, writes about two thousand keys into it, and finds the largest value that the cluster
stores. It takes about ten seconds. Exits with 1 if an assumption does not hold.`
}

func (c *ledgerTryCmd) Run(ctx context.Context, e env) error {
	settings, err := c.At.settings(e)
	if err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "vault %d of organization %d\n", settings.Vault, settings.Organization)
	broken := 0
	trial := ledger.Trial{Config: settings, Env: sdk.Env{Log: slog.New(slog.NewTextHandler(e.stderr, nil))}, Each: func(f ledger.Finding) {
		fmt.Fprintf(e.stdout, "%-7s %s (%s)\n", f.Verdict, f.Check, f.Took.Round(time.Millisecond))
		if f.Text != "" {
			fmt.Fprintf(e.stdout, "        %s\n", f.Text)
		}
		if f.Verdict == ledger.TrialBreaks {
			broken++
		}
	}}
	if _, err := trial.Run(ctx); err != nil {
		return err
	}
	if broken > 0 {
		return &exitError{exitFailed, errors.New("the cluster does not behave as the backend assumes")}
	}
	return nil
}
