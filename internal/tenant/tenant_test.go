package tenant_test

import (
	"testing"

	"github.com/plinthkv/plinth/internal/tenant"
	"github.com/plinthkv/plinth/storage"
)

func TestOf(t *testing.T) {
	org := tenant.Config{Prefix: "org/", Until: "/"}
	for _, c := range []struct {
		name   string
		config tenant.Config
		key    string
		want   string
		ok     bool
	}{
		{"between", org, "org/acme/users/1", "acme", true},
		{"ends with it", org, "org/acme/", "acme", true},
		{"no end", org, "org/acme", "", false},
		{"nothing between", org, "org//users", "", false},
		{"another prefix", org, "sys/acme/1", "", false},
		{"shorter than the prefix", org, "org", "", false},
		{"empty", org, "", "", false},
		{"the whole rest", tenant.Config{Prefix: "t:"}, "t:acme/1", "acme/1", true},
		{"no prefix", tenant.Config{Until: ":"}, "acme:1", "acme", true},
		{"a longer end", tenant.Config{Until: "::"}, "a:cme::1", "a:cme", true},
		{"not set", tenant.Config{}, "org/acme/1", "", false},
	} {
		got, ok := c.config.Of([]byte(c.key))
		if string(got) != c.want || ok != c.ok {
			t.Errorf("%s: %q, %v", c.name, got, ok)
		}
	}
}

func TestOfRange(t *testing.T) {
	org := tenant.Config{Prefix: "org/", Until: "/"}
	for _, c := range []struct {
		name       string
		start, end []byte
		want       string
		ok         bool
	}{
		{"a prefix of the tenant", []byte("org/acme/users/"), storage.PrefixEnd([]byte("org/acme/users/")), "acme", true},
		{"all of the tenant", []byte("org/acme/"), storage.PrefixEnd([]byte("org/acme/")), "acme", true},
		{"two tenants", []byte("org/acme/"), []byte("org/beta/"), "", false},
		{"beyond the tenant", []byte("org/acme/"), []byte("org/acme1"), "", false},
		{"without an end", []byte("org/acme/"), nil, "", false},
		{"everything", nil, nil, "", false},
	} {
		got, ok := org.OfRange(c.start, c.end)
		if string(got) != c.want || ok != c.ok {
			t.Errorf("%s: %q, %v", c.name, got, ok)
		}
	}
}

func TestOfAllocatesNothing(t *testing.T) {
	org, key := tenant.Config{Prefix: "org/", Until: "/"}, []byte("org/acme/users/1")
	if n := testing.AllocsPerRun(100, func() { org.Of(key) }); n != 0 {
		t.Errorf("%.0f allocations", n)
	}
}
