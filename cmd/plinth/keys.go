package main

import (
	"context"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"regexp"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/plinthkv/plinth/auth"
	"github.com/plinthkv/plinth/identity"
	"github.com/plinthkv/plinth/storage"
)

// overGRPC is the store of commands that read and write whole records with conditions.
type overGRPC struct {
	Addr string `help:"Address of the server: grpc://HOST:PORT, grpcs://…, grpc+unix:PATH." default:"grpc://127.0.0.1:7420" env:"PLINTH_GRPC_ADDR,PLINTH_ADDR" context:"grpc"`
	credentials
	Store string `help:"Name of the store." default:"default" env:"PLINTH_STORE" context:"store"`
}

// with opens the store for one command.
func (o overGRPC) with(ctx context.Context, do func(*storage.Store) error) error {
	if !strings.HasPrefix(o.Addr, "grpc") {
		return usagef("--addr %q: this command requires gRPC: set --addr or PLINTH_GRPC_ADDR to grpc://HOST:PORT, grpcs://HOST:PORT or grpc+unix:PATH", o.Addr)
	}
	g, err := target{Server: endpoint{o.Addr, o.credentials}, Store: o.Store}.overGRPC(ctx)
	if err != nil {
		return err
	}
	err = exitOf(do(g.store))
	if closed := g.close(); err == nil {
		err = closed
	}
	return err
}

// keysOf has the common flags of commands about signing keys.
type keysOf struct {
	Server overGRPC                  `embed:""`
	Org    identity.OrganizationSlug `help:"Slug of the organization." required:"" env:"PLINTH_ORG" placeholder:"SLUG" type:"slug"`
	Audit  string                    `help:"Prefix of the audit log in the store, which records an intent before each operation and an outcome after it. If empty, nothing is recorded." default:"audit/"`
	Actor  string                    `help:"Actor for the audit log. By default, user@host." env:"PLINTH_ACTOR"`
}

// with opens the keys for one command.
func (k keysOf) with(ctx context.Context, do func(context.Context, auth.Store) error) error {
	if amongKeys.MatchString(k.Audit) {
		return usagef("--audit %q is among the keys of an organization: choose a prefix outside of org/SLUG/%s, such as audit/", k.Audit, auth.Prefix)
	}
	return k.Server.with(ctx, func(s *storage.Store) error {
		var keys auth.Store = auth.NewKeys(auth.OneStore(s), nil)
		if k.Audit != "" {
			var err error
			if keys, err = auth.NewAudited(keys, auth.NewChain(s, k.Audit), auth.AuditOptions{Timeout: dialTimeout}); err != nil {
				return err
			}
		}
		err := do(auth.WithActor(ctx, k.actor()), keys)
		if errors.Is(err, auth.DamagedHead) {
			return fmt.Errorf(`refused: the head of the audit log at %[1]q of store %[2]q is missing or damaged; "plinth audit verify --log %[1]s" shows the faults; `+
				`restore the log from a backup, or start another one with --audit PREFIX`, k.Audit, k.Server.Store)
		}
		return err
	})
}

// amongKeys matches a prefix whose log would lie among the keys of an organization, where
// lists report each of its entries as an unreadable key.
var amongKeys = regexp.MustCompile(`^org/[^/]*/(revoked-)?signing-keys/`)

func (k keysOf) actor() string {
	if k.Actor != "" {
		return k.Actor
	}
	name, host := "unknown", "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if h, err := os.Hostname(); err == nil {
		host = h
	}
	return name + "@" + host
}

type keysListCmd struct {
	Keys   keysOf `embed:""`
	Active bool   `help:"Only keys that are usable now."`
	JSON   bool   `name:"json" help:"Write each key as a JSON object, with the public key."`
}

func (c *keysListCmd) Run(ctx context.Context, e env) error {
	return c.Keys.with(ctx, func(ctx context.Context, keys auth.Store) error {
		list := keys.List
		if c.Active {
			list = keys.ListActive
		}
		t := tabwriter.NewWriter(forPeople(e.stdout), 0, 4, 2, ' ', 0)
		head := sync.OnceFunc(func() { fmt.Fprintln(t, "KID\tSTATE\tCLIENT\tCERTIFICATE\tVALID FROM\tVALID UNTIL") })
		var bad error
		for k, err := range list(ctx, c.Keys.Org) {
			switch {
			case err != nil:
				bad = err // the others are shown
			case c.JSON:
				if err := json.NewEncoder(e.stdout).Encode(k); err != nil {
					return err
				}
			default:
				head()
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", k.Kid, stateOf(&k, time.Now()), k.ClientID, k.CertID, moment(k.ValidFrom), moment(k.ValidUntil))
			}
		}
		if !c.JSON && bad == nil { // an error alone has no table
			head()
		}
		if err := t.Flush(); err != nil {
			return err
		}
		return bad
	})
}

// stateOf returns the state of a key, in a word.
func stateOf(k *auth.PublicSigningKey, now time.Time) string {
	switch {
	case !k.RevokedAt.IsZero():
		return "revoked"
	case !k.Active:
		return "inactive"
	case k.Usable(now):
		return "usable"
	case now.Before(k.ValidFrom):
		return "not yet"
	}
	return "expired"
}

func moment(at time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return at.UTC().Format(time.RFC3339)
}

type keysShowCmd struct {
	Keys keysOf `embed:""`
	Kid  string `arg:"" help:"The key's ID."`
}

func (c *keysShowCmd) Run(ctx context.Context, e env) error {
	return c.Keys.with(ctx, func(ctx context.Context, keys auth.Store) error {
		k, err := keys.Get(ctx, c.Keys.Org, c.Kid)
		if err != nil {
			return err
		}
		raw, err := json.MarshalIndent(k, "", "  ")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(e.stdout, "%s\n", raw)
		return err
	})
}

// newKey is a key that a command adds.
type newKey struct {
	PublicKey string     `arg:"" name:"public-key" help:"Ed25519 public key, as 43 characters of base64url. \"-\" reads it, or PEM as openssl writes it, from standard input."`
	From      *time.Time `name:"valid-from" help:"Time from which the key is usable (RFC 3339). By default, now." placeholder:"TIME" type:"at"`
	Until     *time.Time `name:"valid-until" help:"Time until which the key is usable (RFC 3339). By default, without an end." placeholder:"TIME" type:"at"`
}

func (n *newKey) key(kid string, client identity.ClientID, cert identity.CertID, stdin io.Reader) (k auth.PublicSigningKey, err error) {
	public, err := readPublicKey(n.PublicKey, stdin)
	if err != nil {
		return k, err
	}
	if k, err = auth.New(kid, public, client, cert, time.Now().Truncate(time.Millisecond)); err != nil {
		return k, err
	}
	if n.From != nil {
		k.ValidFrom = n.From.UTC()
	}
	if n.Until != nil {
		k.ValidUntil = n.Until.UTC()
	}
	return k, k.Validate()
}

// maxPublicKey bounds the file of a key, in bytes.
const maxPublicKey = 64 << 10

// readPublicKey returns the key of an argument, or of standard input.
func readPublicKey(arg string, stdin io.Reader) (k auth.PublicKey, err error) {
	if arg != "-" {
		return auth.ParsePublicKey(arg)
	}
	raw, err := io.ReadAll(io.LimitReader(stdin, maxPublicKey))
	if err != nil {
		return k, fmt.Errorf("standard input: %w", err)
	}
	block, _ := pem.Decode(raw)
	if block == nil {
		return auth.ParsePublicKey(strings.TrimSpace(string(raw)))
	}
	if block.Type != "PUBLIC KEY" {
		return k, usagef("standard input is a %s, must be a PUBLIC KEY", strings.ToLower(block.Type))
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return k, fmt.Errorf("standard input: %w", err)
	}
	public, ok := parsed.(ed25519.PublicKey)
	if !ok {
		return k, usagef("standard input is %s, must be an Ed25519 key", kindOf(parsed))
	}
	return auth.NewPublicKey(public)
}

// kindOf returns the kind of a public key that is not of Ed25519.
func kindOf(public any) string {
	switch k := public.(type) {
	case *rsa.PublicKey:
		return "an RSA key"
	case *ecdsa.PublicKey:
		return "an ECDSA key (" + k.Curve.Params().Name + ")"
	case *ecdh.PublicKey:
		return fmt.Sprintf("an %s key", k.Curve())
	}
	return "a key of another kind"
}

type keysAddCmd struct {
	Keys   keysOf            `embed:""`
	Client identity.ClientID `name:"client-id" help:"ID of the API client that signs with the key." required:"" placeholder:"ID"`
	Cert   identity.CertID   `name:"cert-id" help:"ID of the client's certificate." required:"" placeholder:"ID"`
	Kid    string            `arg:"" help:"The key's ID, the kid of tokens."`
	New    newKey            `embed:""`
}

func (c *keysAddCmd) Run(ctx context.Context, e env) error {
	k, err := c.New.key(c.Kid, c.Client, c.Cert, e.stdin)
	if err != nil {
		return err
	}
	return c.Keys.with(ctx, func(ctx context.Context, keys auth.Store) error { return keys.Create(ctx, c.Keys.Org, k) })
}

type keysRotateCmd struct {
	Keys  keysOf        `embed:""`
	Grace time.Duration `help:"Time for which the old key stays usable along with the new one. By default, it is revoked at once."`
	Old   string        `arg:"" help:"The old key's ID."`
	Kid   string        `arg:"" help:"The new key's ID. The new key has the client and the certificate of the old one."`
	New   newKey        `embed:""`
}

func (c *keysRotateCmd) Run(ctx context.Context, e env) error {
	return c.Keys.with(ctx, func(ctx context.Context, keys auth.Store) error {
		old, err := keys.Get(ctx, c.Keys.Org, c.Old)
		if err != nil {
			return err
		}
		next, err := c.New.key(c.Kid, old.ClientID, old.CertID, e.stdin)
		if err != nil {
			return err
		}
		return keys.Rotate(ctx, c.Keys.Org, c.Old, next, c.Grace)
	})
}

type keysRevokeCmd struct {
	Keys   keysOf `embed:""`
	Reason string `help:"Reason, for the audit log."`
	Kid    string `arg:"" help:"The key's ID."`
}

func (c *keysRevokeCmd) Run(ctx context.Context) error {
	return c.Keys.with(ctx, func(ctx context.Context, keys auth.Store) error { return keys.Revoke(ctx, c.Keys.Org, c.Kid, c.Reason) })
}

type keysActivateCmd struct {
	Keys keysOf `embed:""`
	Kid  string `arg:"" help:"The key's ID."`
}

func (c *keysActivateCmd) Run(ctx context.Context) error {
	return c.Keys.with(ctx, func(ctx context.Context, keys auth.Store) error { return keys.Activate(ctx, c.Keys.Org, c.Kid) })
}

type keysDeactivateCmd struct {
	Keys keysOf `embed:""`
	Kid  string `arg:"" help:"The key's ID."`
}

func (c *keysDeactivateCmd) Run(ctx context.Context) error {
	return c.Keys.with(ctx, func(ctx context.Context, keys auth.Store) error { return keys.Deactivate(ctx, c.Keys.Org, c.Kid) })
}
