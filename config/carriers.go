package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/plinthkv/plinth/config/internal/strictyaml"
)

// The carriers that a setting belongs to.
const (
	ofModule = 1 << iota
	ofProcess
	ofRemote
	ofBuiltin // a module without a file
	ofProgram // an executable without a command
)

// carrierField is a setting of a plugin, and the carriers that it belongs to.
type carrierField struct {
	name string
	set  bool
	of   int
}

func (p *Plugin) carrierFields() []carrierField {
	const runs = ofModule | ofProcess
	const anyRuns = runs | ofBuiltin | ofProgram
	return []carrierField{
		{"wasm", p.Wasm != "", ofModule},
		{"process", p.Process.set(), ofProcess | ofProgram},
		{"remote", p.Remote != "", ofRemote},
		{"sha256", p.SHA256 != "", runs},
		{"trust", p.Trust != "", ofModule},
		{"isolation", p.Isolation != "", ofModule | ofBuiltin},
		{"on_loss", p.OnLoss != "", anyRuns},
		{"restart", p.Restart != Restart{}, anyRuns},
		{"limits.memory", p.Limits.Memory != 0, anyRuns},
		{"limits.call", p.Limits.Call != 0, anyRuns},
		{"limits.max_frame", p.Limits.MaxFrame != 0, anyRuns},
		{"grants.env", p.Grants.Env != nil, runs | ofProgram},
		{"grants.dir", p.Grants.Dir != "", ofProcess | ofProgram},
		{"grants.telemetry", p.Grants.Telemetry, ofProcess | ofProgram},
		{"token", p.Token != "", ofRemote},
		{"tls", p.TLS != RemoteTLS{}, ofRemote},
		{"connect_timeout", p.ConnectTimeout != 0, ofRemote},
		{"attempts", p.Attempts != 0, ofRemote},
	}
}

// validateCarrier checks that there is one carrier at most, and nothing that
// belongs to another one.
func (p *Plugin) validateCarrier() []error {
	var errs []error
	of, name := 0, ""
	for _, f := range p.carrierFields()[:3] {
		switch {
		case f.set && of != 0:
			errs = append(errs, fieldErrorf(f.name, "excludes %s: a plugin is one of them", name))
			of |= f.of
		case f.set:
			of, name = f.of, f.name
		}
	}
	for _, f := range p.carrierFields()[3:] {
		switch {
		case !f.set || f.of&of != 0:
		case of != 0:
			errs = append(errs, fieldErrorf(f.name, "does not belong to a plugin that is a %s", strings.ReplaceAll(name, "wasm", "module")))
		case f.of == ofRemote:
			errs = append(errs, fieldErrorf(f.name, "belongs to a remote, and there is none"))
		}
	}
	if p.Remote != "" {
		if err := validateRemoteAddress(p.Remote); err != nil {
			errs = append(errs, fieldErrorf("remote", "%v", err))
		}
	}
	if p.Isolation != "" && p.Trust != "" {
		errs = append(errs, fieldErrorf("isolation", "excludes trust: a module in a process of its own is never interrupted, but killed"))
	}
	if strings.ContainsFunc(p.Token, invisible) {
		errs = append(errs, fieldErrorf("token", "holds a character that a header cannot carry: use visible ASCII"))
	}
	if p.ConnectTimeout < 0 {
		errs = append(errs, fieldErrorf("connect_timeout", "is negative"))
	}
	if p.Attempts < 0 {
		errs = append(errs, fieldErrorf("attempts", "is negative"))
	}
	return errs
}

// checkPlugins reports plugins that nothing carries, and settings that those do not
// take which bring their own. programs are the executables that need no command.
func (c *Config) checkPlugins(programs []string, d *strictyaml.Decoder) {
	for _, name := range slices.Sorted(maps.Keys(c.Plugins)) {
		p := c.Plugins[name]
		path := strictyaml.Key("plugins", name)
		report := func(field, format string, args ...any) {
			d.Invalid(FieldError{Path: path + "." + field, Message: fmt.Sprintf(format, args...)}, c.root, "")
		}
		own, takes := 0, ""
		switch {
		case name == Memory:
			own, takes = ofBuiltin, "limits, on_loss, isolation and restart"
		case p.Wasm != "" || p.Remote != "" || len(p.Process.Command) > 0:
		case slices.Contains(programs, name):
			own, takes = ofProgram, "limits.call, limits.max_frame, on_loss, restart, grants, and process without a command"
		case p.Process.set():
			report("process.command", "is missing: the executable, and its arguments")
		default:
			report("wasm", "is missing: a plugin is a WebAssembly module, a process, or the remote that serves it")
		}
		if own == 0 {
			continue
		}
		for _, f := range p.carrierFields() {
			if f.set && f.of&own == 0 {
				report(f.name, "cannot be set: %s is built in, and takes only %s", name, takes)
			}
		}
	}
}
