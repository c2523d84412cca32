package otel

import (
	"bytes"

	"github.com/plinthkv/plinth/storage"
)

// whose finds the tenant that everything in a call belongs to.
type whose struct {
	b      *Backend
	tenant []byte
	some   bool // there is a first key
	has    bool // it has a tenant
	many   bool // others have another
}

func (w *whose) key(key []byte) {
	if w.many {
		return
	}
	w.found(w.b.tenant.Of(key))
}

func (w *whose) keyRange(start, end []byte) {
	if w.many {
		return
	}
	tenant, ok := w.b.tenant.OfRange(start, end)
	if !ok && storage.InRange([]byte(w.b.tenant.Prefix), start, end) || !ok && bytes.HasPrefix(start, []byte(w.b.tenant.Prefix)) {
		w.many = true // it may hold keys of tenants, of more than one
		return
	}
	w.found(tenant, ok)
}

func (w *whose) found(tenant []byte, has bool) {
	switch {
	case !w.some:
		w.some, w.tenant, w.has = true, tenant, has
	case w.has != has || !bytes.Equal(w.tenant, tenant):
		w.many = true
	}
}

func (w *whose) labels() *labels {
	switch {
	case w.many:
		return w.b.tenants.many
	case w.has:
		return w.b.tenants.of(w.tenant)
	}
	return w.b.tenants.none
}

func (b *Backend) ofKey(key []byte) *labels {
	if !b.byTenant {
		return b.tenants.none
	}
	w := whose{b: b}
	w.key(key)
	return w.labels()
}

func (b *Backend) ofKeys(keys [][]byte) *labels {
	if !b.byTenant {
		return b.tenants.none
	}
	w := whose{b: b}
	for _, key := range keys {
		w.key(key)
	}
	return w.labels()
}

func (b *Backend) ofRange(start, end []byte) *labels {
	if !b.byTenant {
		return b.tenants.none
	}
	w := whose{b: b}
	w.keyRange(start, end)
	return w.labels()
}

// ofWrites looks at what is written; where nothing is, at what is checked.
func (b *Backend) ofWrites(set *storage.WriteSet) *labels {
	if !b.byTenant {
		return b.tenants.none
	}
	w := whose{b: b}
	for i := range set.Ops {
		if op := &set.Ops[i]; op.Kind == storage.OpDeleteRange {
			w.keyRange(op.Key, op.End)
		} else {
			w.key(op.Key)
		}
	}
	if len(set.Ops) == 0 {
		for i := range set.Checks {
			if c := &set.Checks[i]; c.Kind == storage.CheckRange {
				w.keyRange(c.Key, c.End)
			} else {
				w.key(c.Key)
			}
		}
	}
	return w.labels()
}
