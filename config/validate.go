package config

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/plinthkv/plinth/config/internal/strictyaml"
	"github.com/plinthkv/plinth/secret"
)

// The values of a store's start. The empty one is StartRequired.
const (
	StartRequired = "required"
	StartOptional = "optional"
)

// The values of a backend's on_swap. The empty one has a reload refused that would throw
// items away.
const (
	SwapDiscard  = "discard"
	SwapTransfer = "transfer"
)

// Memory names the built-in plugin.
const Memory = "memory"

var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$`)

const nameHelp = "must be 1 to 63 letters, digits, - and _, and begin with a letter or digit"

// validName returns the form of the names of plugins, stores and stages. They stand in
// URLs, variables and metrics, and in paths with dots.
func validName(s string) bool { return nameForm.MatchString(s) }

func fieldErrorf(path, format string, args ...any) error {
	return &FieldError{Path: path, Message: fmt.Sprintf(format, args...)}
}

// Validate checks rules that concern several parts at once.
func (c *Config) Validate() error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(c.Plugins)) {
		path := strictyaml.Key("plugins", name)
		if !validName(name) {
			errs = append(errs, fieldErrorf(path, "the name of a plugin %s", nameHelp))
		}
	}
	if len(c.Stores) == 0 {
		errs = append(errs, fieldErrorf("stores", "must not be empty: name at least one store, or omit the key for the built-in store"))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Stores)) {
		if !validName(name) {
			errs = append(errs, fieldErrorf(strictyaml.Key("stores", name), "the name of a store %s", nameHelp))
		}
		if start := c.Stores[name].Start; start != "" && start != StartRequired && start != StartOptional {
			errs = append(errs, fieldErrorf(strictyaml.Key(strictyaml.Key("stores", name), "start"), "must be %[2]s or %[3]s (got %[1]q)", start, StartRequired, StartOptional))
		}
	}
	return errors.Join(errs...)
}

// invisible reports whether a header's value cannot hold r.
func invisible(r rune) bool { return r <= ' ' || r > '~' }

// Validate checks that the names of stages are unique.
func (s *Store) Validate() error {
	var errs []error
	required := make(map[string]bool, len(s.Require))
	for i, r := range s.Require {
		switch {
		case r == "":
			errs = append(errs, fieldErrorf(strictyaml.Item("require", i), "is empty"))
		case required[r]:
			errs = append(errs, fieldErrorf(strictyaml.Item("require", i), "duplicate capability"))
		}
		required[r] = true
	}
	named := make(map[string]bool, len(s.Pipeline))
	for i, stage := range s.Pipeline {
		if stage.Name != "" && named[stage.Name] {
			errs = append(errs, fieldErrorf(strictyaml.Item("pipeline", i), "duplicate stage name %q: set another name, as in %s: { name: other }", strictyaml.Clip(stage.Name), strictyaml.Clip(stage.Kind)))
		}
		named[stage.Name] = true
	}
	return errors.Join(errs...)
}

// Validate checks that a plugin or a store is named. The loader checks that it exists.
func (b *Backend) Validate() error {
	switch {
	case b.OnSwap != "" && b.OnSwap != SwapDiscard && b.OnSwap != SwapTransfer:
		return fieldErrorf("on_swap", "must be %[2]s or %[3]s (got %[1]q)", strictyaml.Clip(b.OnSwap), SwapDiscard, SwapTransfer)
	case b.Store != "" && b.OnSwap != "":
		return fieldErrorf("on_swap", "cannot be set on a shared backend: set it in the store %q", strictyaml.Clip(b.Store))
	case b.Store != "" && (b.Plugin != "" || !b.Config.IsEmpty()):
		return fieldErrorf("store", "cannot be combined with plugin or config: the backend of the store %q is shared unchanged", strictyaml.Clip(b.Store))
	case b.Plugin == "" && b.Store == "":
		return fieldErrorf("plugin", "is missing: name the plugin of the backend, such as %s", Memory)
	}
	return nil
}

// Validate checks addresses and names. The server checks whether the listener is safe
// there.
func (s *Server) Validate() error {
	var errs []error
	addresses := []struct{ name, address string }{{"http", s.HTTP}, {"grpc", s.GRPC}, {"probes", s.Probes}}
	for i, a := range addresses {
		if err := validateListener(a.address); err != nil {
			errs = append(errs, fieldErrorf(a.name, "%v", err))
		}
		for _, before := range addresses[:i] {
			if a.address != "" && a.address == before.address && !strings.HasSuffix(a.address, ":0") {
				errs = append(errs, fieldErrorf(a.name, "must differ from the address of %s", before.name))
			}
		}
	}
	for i, host := range s.Hosts {
		if _, _, err := net.SplitHostPort(host); host == "" || err == nil || strings.ContainsAny(host, " \t\r\n/*@?#,") {
			errs = append(errs, fieldErrorf(strictyaml.Item("hosts", i), "must be a host name or address, without scheme, port, path or wildcard"))
		}
	}
	for name, token := range map[string]*secret.Value{"token": s.Token, "admin_token": s.AdminToken} {
		if strings.ContainsFunc(token.Reveal(), invisible) {
			errs = append(errs, fieldErrorf(name, "contains a character that is invalid in a header: use visible ASCII"))
		}
	}
	if s.AdminToken.Len() > 0 && s.AdminToken.Same(s.Token) {
		errs = append(errs, fieldErrorf("admin_token", "must differ from token, which every client has"))
	}
	if s.ShutdownTimeout <= 0 {
		errs = append(errs, fieldErrorf("shutdown_timeout", "must be greater than 0"))
	}
	return errors.Join(errs...)
}

// Validate checks the choice.
func (l *Log) Validate() error {
	switch l.Level {
	case "debug", "info", "warn", "error":
		return nil
	}
	return fieldErrorf("level", "is %q, it must be debug, info, warn or error", strictyaml.Clip(l.Level))
}

// Validate checks that everything is bounded.
func (r *Reload) Validate() error {
	var errs []error
	if r.Hold <= 0 {
		errs = append(errs, fieldErrorf("hold", "must be greater than 0"))
	}
	if r.MaxHeld <= 0 {
		errs = append(errs, fieldErrorf("max_held", "must be greater than 0"))
	}
	return errors.Join(errs...)
}

func validateListener(address string) error {
	const want = `must be host:port, unix:/path, or "" for none`
	if address == "" {
		return nil
	}
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		if !strings.HasPrefix(path, "/") || strings.ContainsRune(path, 0) {
			return errors.New("the path after unix: must be absolute")
		}
		return nil
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return errors.New(want)
	}
	n, err := strconv.Atoi(port)
	switch {
	case err != nil || n < 0 || n > 65535:
		return errors.New(want + ", with a port from 0 to 65535")
	case strconv.Itoa(n) != port:
		return errors.New(want + ", with a port without leading zeros or a sign")
	}
	return nil
}

// Validate checks that the files belong together.
func (t *TLS) Validate() error {
	switch {
	case t.Cert == "" && t.Key != "":
		return fieldErrorf("cert", "is missing: key requires it")
	case t.Cert != "" && t.Key == "":
		return fieldErrorf("key", "is missing: cert requires it")
	case t.ClientCA != "" && t.Cert == "":
		return fieldErrorf("client_ca", "requires cert and key")
	}
	return nil
}

// Validate checks that nothing is unlimited.
func (l *ServerLimits) Validate() error {
	var errs []error
	for _, f := range []struct {
		name string
		n    int64
	}{
		{"header", int64(l.Header)},
		{"header_timeout", int64(l.HeaderTimeout)},
		{"idle_timeout", int64(l.IdleTimeout)},
		{"message", int64(l.Message)},
		{"max_ops", int64(l.MaxOps)},
		{"max_keys", int64(l.MaxKeys)},
		{"max_concurrent", int64(l.MaxConcurrent)},
	} {
		if f.n <= 0 {
			errs = append(errs, fieldErrorf(f.name, "must be greater than 0"))
		}
	}
	if l.Memory < leastMemory {
		errs = append(errs, fieldErrorf("memory", "must be at least %d bytes", int64(leastMemory)))
	}
	return errors.Join(errs...)
}

// leastMemory is the least that requests and answers in flight need.
const leastMemory = 16 << 20

// checkBackends reports stores with an unknown plugin.
func (c *Config) checkBackends(builtins []string, d *strictyaml.Decoder) {
	known := append(slices.Clone(builtins), slices.Collect(maps.Keys(c.Plugins))...)
	slices.Sort(known)
	known = slices.Compact(known)
	for _, name := range slices.Sorted(maps.Keys(c.Stores)) {
		plugin := c.Stores[name].Backend.Plugin
		if plugin == "" || slices.Contains(known, plugin) {
			continue
		}
		path := strictyaml.Below(strictyaml.Key("stores", name), "backend.plugin")
		at, _ := c.root.Find(path)
		message := fmt.Sprintf("unknown plugin %q%s", strictyaml.Clip(plugin), Hint(plugin, known))
		if at.Origin != strictyaml.Document {
			message = fmt.Sprintf("unknown plugin: known are %s", strictyaml.Names(known))
		}
		d.Invalid(FieldError{Path: path, Message: message}, c.root, "")
	}
}

// protection is a setting that protects something where it is given. If it is empty, as a
// reference with an empty default makes it, the protection would be off without a word.
type protection struct {
	path   string
	off    string // what the setting would mean if it is empty
	secret bool   // a token: text that YAML reads as something else than a string is refused
}

// protections lists them for the plugins that are named.
func protections(plugins *strictyaml.Value) []protection {
	const authentication = "that would turn authentication off: omit the key if no token is required"
	all := []protection{
		{"server.token", authentication, true}, {"server.admin_token", authentication, true},
		{"server.tls.cert", "that would turn TLS off: omit the key to serve in the clear", false},
		{"server.tls.key", "that would turn TLS off: omit the key to serve in the clear", false},
		{"server.tls.client_ca", "callers would need no certificate: omit the key if none is required", false},
	}
	if plugins == nil {
		return all
	}
	for _, e := range plugins.Entries {
		at := strictyaml.Key("plugins", e.Name) + "."
		all = append(all, protection{at + "token", authentication, true},
			protection{at + "sha256", "any content would be accepted: omit the key to run it without a check", false},
			protection{at + "grants.dir", "no folder would be granted: omit the key to grant none", false},
			protection{at + "tls.ca", "that would turn TLS off: use system, or omit tls to connect in the clear", false},
			protection{at + "tls.cert", "no client certificate would be sent: omit the key to send none", false},
			protection{at + "tls.key", "no client certificate would be sent: omit the key to send none", false})
	}
	return all
}

// checkProtections refuses protections that are empty, which would turn them off, and tokens
// that YAML reads as something else than a string.
func checkProtections(root, file *strictyaml.Value, d *strictyaml.Decoder) {
	for _, p := range protections(root.Get("plugins")) {
		at, ok := root.Find(p.path)
		written := ok && !at.Broken && at.Kind == strictyaml.Scalar
		if is := at.Describe(); p.secret && written && at.Pos.Line > 0 && is != "a string" {
			d.Failf(at.Pos, p.path, "expected a string, got %s: put it in quotes", is)
		}
		if !ok && file != nil { // a key without a value is left out, elsewhere
			at, ok = file.Find(p.path)
		}
		if written && at.Data() == "" || ok && at.Kind == strictyaml.Null {
			d.Failf(at.Where(), p.path, "must not be empty, because %s", p.off)
		}
	}
}
