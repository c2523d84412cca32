package carrier

import (
	"encoding/hex"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/plinthkv/plinth/internal/supervise"
	"github.com/plinthkv/plinth/secret"
)

// Restart configures how a lost plugin is started again, if its capabilities or on_loss
// allow it.
type Restart struct {
	Budget int           `yaml:"budget"` // losses and failed starts within window, beyond which it has failed and is started rarely
	Window time.Duration `yaml:"window"` // the time in which losses count
	Wait   time.Duration `yaml:"wait"`   // how long calls wait for the new start
}

// Validate checks that nothing is negative.
func (r *Restart) Validate() error {
	if r.Budget < 0 {
		return Fieldf("budget", "must not be negative")
	}
	return nil
}

// Policy returns r for the supervisor.
func (r Restart) Policy() supervise.Policy {
	return supervise.Policy{Budget: r.Budget, Window: r.Window, Wait: r.Wait}
}

// Loss configures what happens when a plugin is lost.
type Loss struct {
	OnLoss  string  `yaml:"on_loss"` // "fail" or "restart", if its state was lost
	Restart Restart `yaml:"restart"` // how a lost plugin is started again
}

// DefaultLoss returns the defaults.
func DefaultLoss() Loss {
	p := supervise.Policy{}.WithDefaults()
	return Loss{OnLoss: "fail", Restart: Restart{Budget: p.Budget, Window: p.Window, Wait: p.Wait}}
}

// Validate checks the choice.
func (l *Loss) Validate() error {
	switch l.OnLoss {
	case "", "fail", "restart":
		return nil
	}
	return Fieldf("on_loss", "must be fail or restart")
}

// Restarts reports whether a plugin that lost its state is started again.
func (l *Loss) Restarts() bool { return l.OnLoss == "restart" }

// CheckIsolation checks the choice.
func CheckIsolation(isolation string) error {
	switch isolation {
	case "", "none", "process":
		return nil
	}
	return Fieldf("isolation", "must be process or none")
}

// Env holds an environment, as names and values, which may be secrets.
type Env map[string]*secret.Value

// EnvOf returns an environment of names and values.
func EnvOf(values map[string]string) Env {
	e := make(Env, len(values))
	for name, value := range values {
		e[name] = secret.Copy(value)
	}
	return e
}

// Reveal returns the names and values, for who passes them on and keeps nothing.
func (e Env) Reveal() map[string]string {
	values := make(map[string]string, len(e))
	for name, value := range e {
		values[name] = value.Reveal()
	}
	return values
}

// mostVariables limits the variables of an environment. Each value takes a page of locked memory.
const mostVariables = 1024

// Check checks the names and values, of the setting at path.
func (e Env) Check(path string) error {
	if len(e) > mostVariables {
		return Fieldf(path, "holds %d variables, more than %d", len(e), mostVariables)
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(e)) {
		if strings.ContainsAny(name, "=\x00") {
			errs = append(errs, Fieldf(path+"."+name, "the name of a variable must not contain ="))
		}
		if strings.ContainsRune(e[name].Reveal(), 0) {
			errs = append(errs, Fieldf(path+"."+name, "the value of a variable must not contain a zero byte"))
		}
	}
	return errors.Join(errs...)
}

// CheckDigest checks the form of a SHA-256, of the setting at path.
func CheckDigest(path, digest string) error {
	if b, err := hex.DecodeString(digest); digest != "" && (err != nil || len(b) != 32) {
		return Fieldf(path, "must be 64 hex digits")
	}
	return nil
}
