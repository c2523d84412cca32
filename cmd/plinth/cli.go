package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/plinthkv/plinth/client"
)

const defaultAddr = "http://127.0.0.1:7421"

const description = `A storage host: key-value backends as plugins, behind pipelines of wrappers, served over gRPC and HTTP.

Without a configuration file, "plinth serve" serves one store, "default", in memory, on 127.0.0.1:7421 (HTTP) and
127.0.0.1:7420 (gRPC). "plinth config default" prints this built-in configuration, with comments.

Keys and values are bytes, taken literally from the arguments; the value "-" reads standard input.
Environment variables can set every configuration value that flags can:
PLINTH_SERVER__HTTP=127.0.0.1:8000, PLINTH_STORES__DEFAULT__PIPELINE__CACHE__TTL=30s.

Commands that call a server use http://127.0.0.1:7421 by default, and PLINTH_ADDR sets another address. The commands keys and audit
require gRPC: they use grpc://127.0.0.1:7420, PLINTH_GRPC_ADDR, or PLINTH_ADDR if it is an address of gRPC. "plinth context --help"
shows how to name servers with their credentials in a file, and how to choose one.

Exit codes: 0 success, 1 failure, 2 usage error, 3 not found, 4 conflict.`

type cli struct {
	Serve  serveCmd  `cmd:"" group:"serving" help:"Serve the stores of a configuration over gRPC and HTTP."`
	Reload reloadCmd `cmd:"" group:"serving" help:"Reload the configuration of a running server."`
	Status statusCmd `cmd:"" group:"serving" help:"Show the configuration that a server runs, and the outcome of its last reload."`
	Check  checkCmd  `cmd:"" group:"serving" help:"Check a configuration file, including its plugins, without serving it."`

	Get    getCmd    `cmd:"" group:"data" help:"Write the value of a key to standard output."`
	Set    setCmd    `cmd:"" group:"data" help:"Store a value under a key."`
	Delete deleteCmd `cmd:"" group:"data" help:"Delete a key. An absent key is not an error."`
	Cas    casCmd    `cmd:"" group:"data" help:"Store a value under a key if the key's current state is as expected."`
	Scan   scanCmd   `cmd:"" group:"data" help:"Write the items of a range to standard output, in byte order."`
	Watch  watchCmd  `cmd:"" group:"data" help:"Write the changes of a range to standard output as they happen, each as a JSON object."`
	Clear  clearCmd  `cmd:"" group:"data" help:"Remove every key of a range."`
	Import importCmd `cmd:"" group:"data" help:"Store the items of a file with a JSON object on each line."`
	Export exportCmd `cmd:"" group:"data" help:"Write the items of a range to a file that import can read."`

	Backup  backupCmd  `cmd:"" group:"move" help:"Write a consistent snapshot of a store to a file."`
	Restore restoreCmd `cmd:"" group:"move" help:"Verify a backup file, and store its items."`
	Copy    copyCmd    `cmd:"" group:"move" help:"Copy a store to another, or compare the two."`

	Bench benchCmd `cmd:"" group:"info" help:"Generate load on a store, and measure latencies."`

	Config struct {
		Default configDefaultCmd `cmd:"" help:"Print the built-in configuration."`
		Show    configShowCmd    `cmd:"" help:"Print the effective configuration from file, environment and flags, without secrets."`
		Diff    configDiffCmd    `cmd:"" help:"Show the changes that a reload would make."`
		Schema  configSchemaCmd  `cmd:"" help:"Print the JSON Schema of configuration files, for editors."`
	} `cmd:"" group:"info" help:"Inspect configurations."`
	Plugin struct {
		List    pluginListCmd    `cmd:"" help:"List the plugins of a configuration."`
		Restart pluginRestartCmd `cmd:"" help:"Restart a plugin of a running server."`
		Inspect pluginInspectCmd `cmd:"" help:"Check a module or executable, and show its name, version and capabilities."`
		Test    pluginTestCmd    `cmd:"" help:"Test a plugin with the conformance kit and with hostile input."`
		New     pluginNewCmd     `cmd:"" help:"Scaffold a working plugin in Go."`
	} `cmd:"" group:"info" help:"Inspect, test and scaffold plugins."`
	Keys struct {
		List       keysListCmd       `cmd:"" help:"List the keys of an organization."`
		Show       keysShowCmd       `cmd:"" help:"Print a key as it is stored."`
		Add        keysAddCmd        `cmd:"" help:"Store a new key."`
		Revoke     keysRevokeCmd     `cmd:"" help:"Revoke a key permanently."`
		Rotate     keysRotateCmd     `cmd:"" help:"Replace a key with a new one."`
		Activate   keysActivateCmd   `cmd:"" help:"Reactivate a key."`
		Deactivate keysDeactivateCmd `cmd:"" help:"Deactivate a key until it is reactivated."`
	} `cmd:"" group:"auth" help:"Manage public keys for verifying tokens, in a served store."`
	Audit struct {
		Verify auditVerifyCmd `cmd:"" help:"Verify that no entry of an audit log was changed, removed or inserted."`
		List   auditListCmd   `cmd:"" help:"Print the entries of an audit log."`
	} `cmd:"" group:"auth" help:"Inspect the audit log of a served store."`
	Ledger struct {
		Bootstrap ledgerBootstrapCmd `cmd:"" help:"Create an organization and a vault on a fresh cluster, and print a configuration for them."`
		Try       ledgerTryCmd       `cmd:"" help:"Verify that a cluster behaves as the backend assumes."`
		Verify    ledgerVerifyCmd    `cmd:"" help:"Verify the blocks and the state of a vault, and the server's proof of a key."`
	} `cmd:"" group:"info" help:"Set up and check clusters of InferaDB Ledger."`
	Postgres struct {
		Init postgresInitCmd `cmd:"" help:"Create the tables of a configured store."`
	} `cmd:"" group:"info" help:"Set up stores on PostgreSQL."`
	Context    contextCmd    `cmd:"" group:"info" help:"Name servers, and choose between them."`
	Completion completionCmd `cmd:"" group:"info" help:"Print a script that completes commands and flags in a shell."`
	Version    versionCmd    `cmd:"" group:"info" help:"Print the version."`
}

// endpoint is the server that a data command asks.
type endpoint struct {
	Addr string `help:"Address of the server: http://HOST:PORT, https://…, unix:PATH; or grpc://HOST:PORT, grpcs://…, grpc+unix:PATH." default:"${default_addr}" env:"PLINTH_ADDR" context:"addr"`
	credentials
}

// credentials identify a server and its caller.
type credentials struct {
	Context   string `help:"Named context with the address and the credentials of a server: see plinth context --help." placeholder:"NAME" env:"PLINTH_CONTEXT" context:"name" values:"contexts"`
	Token     string `help:"Bearer token of the server." env:"PLINTH_TOKEN" context:"token"`
	TokenFile string `help:"File with the bearer token." placeholder:"FILE" type:"path" env:"PLINTH_TOKEN_FILE" xor:"token" context:"token_file"`
	CA        string `name:"ca" help:"PEM file of certificate authorities to trust instead of the system's." placeholder:"FILE" type:"path" env:"PLINTH_CA" context:"ca"`
	Cert      string `help:"PEM file of the client certificate." placeholder:"FILE" type:"path" env:"PLINTH_CERT" context:"cert"`
	Key       string `help:"PEM file of the client certificate's private key." placeholder:"FILE" type:"path" env:"PLINTH_KEY" context:"key"`
}

// verify reports a file for an encrypted connection that is missing, by the name of its flag or
// variable.
func (c credentials) verify() error {
	cert, key := named("--cert", "PLINTH_CERT", c.Cert), named("--key", "PLINTH_KEY", c.Key)
	switch {
	case c.Cert != "" && c.Key == "":
		return usagef("%s requires --key, the private key of the certificate", cert)
	case c.Cert == "" && c.Key != "":
		return usagef("%s requires --cert, the certificate of the private key", key)
	}
	for _, file := range [][2]string{{named("--ca", "PLINTH_CA", c.CA), c.CA}, {cert, c.Cert}, {key, c.Key}} {
		if file[1] == "" {
			continue
		}
		f, err := os.Open(file[1])
		if err != nil {
			return fmt.Errorf("%s: %w", file[0], err)
		}
		f.Close()
	}
	return nil
}

// named returns the variable that has set a flag to a value, else the flag.
func named(flag, variable, value string) string {
	if set := os.Getenv(variable); set != "" && (set == value || kong.ExpandPath(set) == value) {
		return variable
	}
	return flag
}

// tls returns the files for an encrypted connection.
func (c credentials) tls() client.TLS { return client.TLS{CA: c.CA, Cert: c.Cert, Key: c.Key} }

// token returns the token of the file, or of the flag.
func (c credentials) token() (string, error) {
	if c.TokenFile == "" {
		return c.Token, nil
	}
	raw, err := os.ReadFile(c.TokenFile)
	if err != nil {
		return "", fmt.Errorf("%s: %w", named("--token-file", "PLINTH_TOKEN_FILE", c.TokenFile), err)
	}
	token := strings.TrimSpace(string(raw))
	if token == "" || len(raw) > mostToken {
		return "", usagef("--token-file: %s contains no token: its size is %d bytes", c.TokenFile, len(raw))
	}
	return token, nil
}

// mostToken bounds a file with a token, in bytes.
const mostToken = 64 << 10

// target is the store that a data command works on.
type target struct {
	Server endpoint `embed:""`
	Store  string   `help:"Name of the store." default:"default" env:"PLINTH_STORE" context:"store"`
}

// bounds are a range of keys.
type bounds struct {
	Prefix *string `help:"Only keys with this prefix."`
	Start  *string `help:"First key (inclusive)."`
	End    *string `help:"End key (exclusive)."`
}
