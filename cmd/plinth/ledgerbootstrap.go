package main

import (
	"context"
	"fmt"
	"io"

	"github.com/plinthkv/plinth/plugins/ledger"
)

type ledgerBootstrapCmd struct {
	Endpoint         []string `help:"Node of the cluster, such as http://127.0.0.1:7501. Repeat it for each node; the first one is initialised." required:"" placeholder:"URL"`
	Region           string   `help:"Region of the organization." default:"us-east-va"`
	Email            string   `help:"E-mail address of the first user, which must be new to the cluster. By default, a random one."`
	Name             string   `help:"Name of the first user." default:"Plinth"`
	OrganizationName string   `help:"Name of the organization." default:"Plinth"`
	VaultSlug        uint64   `help:"Slug of the vault (0 = a new one). The same slug always names the same vault." default:"0"`
}

// Help returns the text that "plinth ledger bootstrap --help" adds.
func (*ledgerBootstrapCmd) Help() string {
	return `Initialises the cluster if necessary, provisions the region, registers a user with an organization
and creates a vault. On a cluster that is already set up, it creates another user, organization and vault.
The servers must have been started with --email-blinding-key. Progress goes to standard error, the
configuration to standard output.`
}

func (c *ledgerBootstrapCmd) Run(ctx context.Context, e env) error {
	done, err := ledger.Bootstrap(ctx, ledger.BootstrapOptions{
		Endpoints: c.Endpoint, Region: c.Region, Email: c.Email, Name: c.Name, Organization: c.OrganizationName, VaultSlug: c.VaultSlug,
		Tell: func(text string) { fmt.Fprintln(e.stderr, "plinth:", text) },
	})
	if err != nil {
		return err
	}
	printLedgerConfig(e.stdout, c.Endpoint, done)
	return nil
}

// printLedgerConfig prints a configuration that runs as it is.
func printLedgerConfig(w io.Writer, endpoints []string, b ledger.Bootstrapped) {
	fmt.Fprintf(w, "# organization %d, vault %d\nstores:\n  default:\n    backend:\n      plugin: ledger\n      config:\n        endpoints:\n", b.Organization, b.Vault)
	for _, endpoint := range endpoints {
		fmt.Fprintf(w, "          - %s\n", endpoint)
	}
	fmt.Fprintf(w, "        organization: %d\n        vault: %d\n", b.Organization, b.Vault)
	fmt.Fprint(w, `    pipeline:                  # no cache: it would show the writes of others up to 1s late
      - instrument
      - size_limits: { key: 512, value: 8KiB }   # the server's pages have 16 KiB
`)
}
