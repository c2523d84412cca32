// Package tenant finds the tenant that a key belongs to: the part of it that
// quotas and metrics are counted by. It is no wrapper; those that count by
// tenant share it.
package tenant

import "bytes"

// Config says where in a key its tenant stands, as YAML holds it. The zero value finds
// none.
type Config struct {
	Prefix string `yaml:"prefix"` // prefix of the keys of tenants
	Until  string `yaml:"until"`  // text that ends the tenant; by default the rest of the key is the tenant
}

// Set reports whether any key has a tenant.
func (c Config) Set() bool { return c != Config{} }

// Of returns the tenant of key: what stands between the prefix and the first Until
// after it. A key without either, or with nothing between them, has none. The
// tenant is a part of key, not a copy.
func (c Config) Of(key []byte) (tenant []byte, ok bool) {
	if !c.Set() || len(key) < len(c.Prefix) || string(key[:len(c.Prefix)]) != c.Prefix {
		return nil, false
	}
	rest := key[len(c.Prefix):]
	if c.Until != "" {
		at := bytes.Index(rest, []byte(c.Until))
		if at < 0 {
			return nil, false
		}
		rest = rest[:at]
	}
	return rest, len(rest) > 0
}

// OfRange returns the tenant that all keys of [start, end) belong to, nil end:
// unbounded. A range over several has none.
func (c Config) OfRange(start, end []byte) (tenant []byte, ok bool) {
	tenant, ok = c.Of(start)
	if !ok || end == nil || c.Until == "" {
		return nil, false
	}
	// Every key below end belongs to the tenant if the keys of the tenant reach
	// to end: they begin with all of prefix, tenant and Until.
	own := start[:len(c.Prefix)+len(tenant)+len(c.Until)]
	if bytes.HasPrefix(end, own) || isPrefixEnd(end, own) {
		return tenant, true
	}
	return nil, false
}

// isPrefixEnd reports whether end is the first key after all that begin with own.
func isPrefixEnd(end, own []byte) bool {
	for n := len(own); n > 0; n-- {
		if own[n-1] != 0xff {
			return len(end) == n && bytes.Equal(end[:n-1], own[:n-1]) && end[n-1] == own[n-1]+1
		}
	}
	return false
}
