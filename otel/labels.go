package otel

import (
	"maps"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/plinthkv/plinth/storage"
)

// What calls count under that belong to no tenant of their own.
const (
	otherTenants = "_other" // tenants beyond the maximum number of labels
	manyTenants  = "_many"  // calls that concern several
)

// maxTenantName limits the names that become a label, in bytes. A longer one is counted
// among the others.
const maxTenantName = 64

// outcomes is one more than the highest code that has attributes of its own.
const outcomes = int(storage.VersionGone) + 1

// labels holds the attributes of one tenant's calls: each set is made when it is first
// needed, and once.
type labels struct {
	tenant string // empty if none
	common *[operations][]attribute.KeyValue
	sets   [operations][outcomes]atomic.Pointer[[]metric.RecordOption]
	ttl    atomic.Pointer[[]metric.AddOption]
}

func newLabels(common *[operations][]attribute.KeyValue, tenant string) *labels {
	return &labels{tenant: tenant, common: common}
}

// of returns the options for a call that ended with code.
func (l *labels) of(op operation, code storage.Code) []metric.RecordOption {
	if int(code) >= outcomes {
		code = storage.Internal
	}
	at := &l.sets[op][code]
	if set := at.Load(); set != nil {
		return *set
	}
	own := []attribute.KeyValue{attribute.String("plinth.outcome", code.Name())}
	if !expected(code) {
		own = append(own, attribute.String("error.type", code.Name()))
	}
	if l.tenant != "" {
		own = append(own, attribute.String("plinth.tenant", l.tenant))
	}
	set := []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(append(own, l.common[op]...)...))}
	at.Store(&set) // another may have made the same
	return set
}

// expiring returns the attributes of what is counted of items with a time to live.
func (l *labels) expiring() []metric.AddOption {
	if set := l.ttl.Load(); set != nil {
		return *set
	}
	var own []attribute.KeyValue
	for _, a := range l.common[opSet] {
		if a.Key != "db.operation.name" {
			own = append(own, a)
		}
	}
	if l.tenant != "" {
		own = append(own, attribute.String("plinth.tenant", l.tenant))
	}
	set := []metric.AddOption{metric.WithAttributeSet(attribute.NewSet(own...))}
	l.ttl.Store(&set)
	return set
}

// tenants holds the labels of tenants, up to a maximum number. Looking one up neither locks
// nor allocates.
type tenants struct {
	common      *[operations][]attribute.KeyValue
	none        *labels // of keys without a tenant
	other, many *labels
	most        int

	known atomic.Pointer[map[string]*labels] // never changed, only replaced
	mu    sync.Mutex                         // of whoever replaces it
}

func newTenants(common *[operations][]attribute.KeyValue, most int) *tenants {
	t := &tenants{common: common, most: most, none: newLabels(common, ""),
		other: newLabels(common, otherTenants), many: newLabels(common, manyTenants)}
	t.known.Store(&map[string]*labels{otherTenants: t.other, manyTenants: t.many})
	return t
}

// of returns the labels of one tenant. The first that are seen have their own.
func (t *tenants) of(name []byte) *labels {
	known := *t.known.Load()
	if l, ok := known[string(name)]; ok {
		return l
	}
	if len(known)-2 >= t.most || len(name) > maxTenantName || !utf8.Valid(name) {
		return t.other
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	known = *t.known.Load()
	if l, ok := known[string(name)]; ok {
		return l
	}
	if len(known)-2 >= t.most {
		return t.other
	}
	more := maps.Clone(known)
	l := newLabels(t.common, string(name))
	more[l.tenant] = l
	t.known.Store(&more)
	return l
}
