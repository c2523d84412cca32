package main

import (
	"context"
	"fmt"

	"github.com/plinthkv/plinth/plugins/postgres"
	"github.com/plinthkv/plinth/sdk"
)

type postgresInitCmd struct {
	Source source `embed:""`
	Store  string `help:"Name of the store whose tables to create." default:"default"`
}

// Help returns the text that "plinth postgres init --help" adds.
func (*postgresInitCmd) Help() string {
	return `Creates the tables of a configured store, as the configured user. Existing tables stay unchanged, except that
changes: true adds a table to them; a table of that name that is not a store is an error. The user needs the right to create tables; "plinth serve" needs SELECT, INSERT, UPDATE
and DELETE on them, and USAGE and UPDATE on the sequence.`
}

func (c *postgresInitCmd) Run(ctx context.Context, e env) error {
	cfg, err := c.Source.load(e)
	if err != nil {
		return listed(err)
	}
	store, ok := cfg.Stores[c.Store]
	if !ok {
		return usagef("the configuration has no store %q: set --store", c.Store)
	}
	if store.Backend.Plugin != postgresPlugin {
		return usagef("the backend of the store %s does not use the plugin %s", c.Store, postgresPlugin)
	}
	raw, err := store.Backend.Config.JSON()
	if err != nil {
		return err
	}
	created, err := postgres.Init(ctx, sdk.Env{Config: raw})
	if err != nil {
		return fmt.Errorf("store %s: %w", c.Store, err)
	}
	text := "the tables of the store %s exist\n"
	if created {
		text = "the tables of the store %s were created\n"
	}
	fmt.Fprintf(e.stdout, text, c.Store)
	return nil
}
