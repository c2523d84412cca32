package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/plinthkv/plinth/client"
)

const defaultAddr = "http://127.0.0.1:7421"

const description = `A storage host: key-value backends as plugins, behind pipelines of wrappers, served over gRPC and HTTP.

"plinth serve" alone serves one store, "default", in memory, on 127.0.0.1:7421, and on 7420 for gRPC. A configuration
file says what else there is; "plinth config default" prints the built-in one, with comments.

Keys and values are bytes: as arguments they are taken as they are; "-" as a value reads standard
input. Whatever a flag can say about the configuration, the environment can too:
PLINTH_SERVER__HTTP=127.0.0.1:8000, PLINTH_STORES__DEFAULT__PIPELINE__CACHE__TTL=30s.

Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 conflict.`

type cli struct {
	Serve  serveCmd  `cmd:"" group:"serving" help:"Serve the stores of a configuration over gRPC and HTTP."`
	Reload reloadCmd `cmd:"" group:"serving" help:"Have a server read its configuration again, and put it in force while it serves."`
	Status statusCmd `cmd:"" group:"serving" help:"Show what a server runs, and what came of its last reload."`
	Check  checkCmd  `cmd:"" group:"serving" help:"Check a configuration file, its plugins included, without serving it."`

	Get    getCmd    `cmd:"" group:"data" help:"Write the value at a key to standard output."`
	Set    setCmd    `cmd:"" group:"data" help:"Store a value at a key."`
	Delete deleteCmd `cmd:"" group:"data" help:"Remove a key; one that is absent is no error."`
	Cas    casCmd    `cmd:"" group:"data" help:"Store a value at a key if it is as expected."`
	Scan   scanCmd   `cmd:"" group:"data" help:"Write the items of a range to standard output, in byte order."`
	Clear  clearCmd  `cmd:"" group:"data" help:"Remove every key of a range."`
	Import importCmd `cmd:"" group:"data" help:"Store the items of a file, a JSON object on each line."`
	Export exportCmd `cmd:"" group:"data" help:"Write the items of a range to a file, as import reads them."`

	Backup  backupCmd  `cmd:"" group:"move" help:"Write a store, in one state, to a file."`
	Restore restoreCmd `cmd:"" group:"move" help:"Check a backup file, and put its items into a store."`
	Copy    copyCmd    `cmd:"" group:"move" help:"Copy the items of a store to another, or compare the two."`

	Bench benchCmd `cmd:"" group:"info" help:"Drive a store as its users do, and measure how long they wait."`

	Config struct {
		Default configDefaultCmd `cmd:"" help:"Print the built-in configuration."`
		Show    configShowCmd    `cmd:"" help:"Print a configuration as it comes out of file, environment and flags, without secrets."`
		Diff    configDiffCmd    `cmd:"" help:"Show what a reload would do with a configuration file."`
		Schema  configSchemaCmd  `cmd:"" help:"Print the JSON Schema of configuration files, for editors."`
	} `cmd:"" group:"info" help:"Look at configurations."`
	Plugin struct {
		List    pluginListCmd    `cmd:"" help:"List the plugins of a configuration."`
		Restart pluginRestartCmd `cmd:"" help:"Have a server start a plugin again."`
		Inspect pluginInspectCmd `cmd:"" help:"Check a module or executable and show what it says of itself."`
		Test    pluginTestCmd    `cmd:"" help:"Run the conformance kit and hostile input against a plugin."`
		New     pluginNewCmd     `cmd:"" help:"Write a plugin in Go that works, to begin with."`
	} `cmd:"" group:"info" help:"Look at plugins, test them, begin one."`
	Keys struct {
		List       keysListCmd       `cmd:"" help:"List the keys of an organization."`
		Show       keysShowCmd       `cmd:"" help:"Print a key as it is stored."`
		Add        keysAddCmd        `cmd:"" help:"Store a new key."`
		Revoke     keysRevokeCmd     `cmd:"" help:"End a key for good."`
		Rotate     keysRotateCmd     `cmd:"" help:"Put a new key in the place of an old one."`
		Activate   keysActivateCmd   `cmd:"" help:"Switch a key on again."`
		Deactivate keysDeactivateCmd `cmd:"" help:"Switch a key off, until it is switched on again."`
	} `cmd:"" group:"auth" help:"Keep the public keys that tokens are verified with, in a served store."`
	Audit struct {
		Verify auditVerifyCmd `cmd:"" help:"Check that nothing of an audit log was changed, removed or put between."`
		List   auditListCmd   `cmd:"" help:"Print the entries of an audit log."`
	} `cmd:"" group:"auth" help:"Look at the audit log of a served store."`
	Ledger struct {
		Bootstrap ledgerBootstrapCmd `cmd:"" help:"Get an organization and a vault on a fresh cluster, and print a configuration for them."`
		Try       ledgerTryCmd       `cmd:"" help:"Try on a cluster what the backend counts on."`
		Verify    ledgerVerifyCmd    `cmd:"" help:"Check the blocks of a vault, its state, and what the server says of a key."`
	} `cmd:"" group:"info" help:"Set up and check clusters of InferaDB Ledger."`
	Postgres struct {
		Init postgresInitCmd `cmd:"" help:"Create the tables of a store of the configuration."`
	} `cmd:"" group:"info" help:"Set up stores on PostgreSQL."`
	Version versionCmd `cmd:"" group:"info" help:"Print the version."`
}

// endpoint is the server that a data command asks.
type endpoint struct {
	Addr string `help:"Address of the server: http://HOST:PORT, https://…, unix:PATH; or grpc://HOST:PORT, grpcs://…, grpc+unix:PATH." default:"${default_addr}" env:"PLINTH_ADDR"`
	credentials
}

// credentials are how a server is known, and who the caller is.
type credentials struct {
	Token     string `help:"Bearer token of the server." env:"PLINTH_TOKEN"`
	TokenFile string `help:"File that holds the token." placeholder:"FILE" type:"path" env:"PLINTH_TOKEN_FILE" xor:"token"`
	CA        string `name:"ca" help:"PEM file of who signed the server's certificate, in the place of those that the system trusts." placeholder:"FILE" type:"path" env:"PLINTH_CA"`
	Cert      string `name:"client-cert" help:"PEM file of a certificate that says who calls." placeholder:"FILE" type:"path" env:"PLINTH_CLIENT_CERT"`
	Key       string `name:"client-key" help:"PEM file of its private key." placeholder:"FILE" type:"path" env:"PLINTH_CLIENT_KEY"`
}

// tls are the files, for a connection that is encrypted.
func (c credentials) tls() client.TLS { return client.TLS{CA: c.CA, Cert: c.Cert, Key: c.Key} }

// token is the one of the flag, or of the file.
func (c credentials) token() (string, error) {
	if c.TokenFile == "" {
		return c.Token, nil
	}
	raw, err := os.ReadFile(c.TokenFile)
	if err != nil {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	token := strings.TrimSpace(string(raw))
	if token == "" || len(raw) > mostToken {
		return "", usagef("--token-file: %s holds no token: it has %d bytes", c.TokenFile, len(raw))
	}
	return token, nil
}

// mostToken is the longest file that may hold a token, in bytes.
const mostToken = 64 << 10

// target is the store that a data command works on.
type target struct {
	Server endpoint `embed:""`
	Store  string   `help:"Name of the store." default:"default" env:"PLINTH_STORE"`
}

// bounds are a range of keys.
type bounds struct {
	Prefix *string `help:"Only keys that begin with this."`
	Start  *string `help:"From this key on."`
	End    *string `help:"Up to this key, which is left out."`
}
