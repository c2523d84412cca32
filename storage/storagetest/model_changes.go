package storagetest

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// change notes what a write set changed, which was done at a version of its own. The lock is
// held.
func (m *Model) change(ops []storage.Op, version uint64) {
	if !m.info.Caps.Has(storage.CapChanges) || version == m.noted {
		return
	}
	var made []storage.Change
	for _, o := range ops {
		if o.Kind == storage.OpPut && storage.Expired(o.ExpiresAt, m.now) {
			o = storage.Delete(o.Key)
		}
		c := storage.OpChange(&o, version)
		c.Key, c.Value, c.ExpiresAt = copied(c.Key), bytes.Clone(c.Value), storage.ClampExpiry(c.ExpiresAt)
		if c.End != nil {
			c.End = copied(c.End)
		}
		made = append(made, c)
	}
	m.note(made, version)
}

func (m *Model) note(made []storage.Change, version uint64) {
	m.log, m.noted = append(m.log, made), version
	close(m.changed)
	m.changed = make(chan struct{})
}

// collect takes out what has expired, each item at a version of its own. The lock is held.
func (m *Model) collect() {
	var gone []storage.Item
	for _, it := range m.state.items {
		if storage.Expired(it.ExpiresAt, m.now) {
			gone = append(gone, it)
		}
	}
	slices.SortFunc(gone, func(a, b storage.Item) int { return bytes.Compare(a.Key, b.Key) })
	for _, it := range gone {
		m.state = m.state.apply([]storage.Op{storage.Delete(it.Key)}, m.now, m.state.version)
		m.state.version++
		m.note([]storage.Change{{Kind: storage.ChangeExpired, Key: it.Key, Version: m.state.version}}, m.state.version)
	}
}

// Changes returns a page of what changed since the model was made.
func (m *Model) Changes(ctx context.Context, q storage.ChangeQuery) (storage.ChangePage, error) {
	end := time.Now().Add(min(q.Wait, storage.MostWait))
	for {
		page, changed, err := m.changes(q)
		left := time.Until(end)
		if err != nil || len(page.Changes) > 0 || q.FromNow || left <= 0 {
			return page, err
		}
		timer := time.NewTimer(left)
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return storage.ChangePage{}, storage.ContextError(ctx)
		}
		timer.Stop()
	}
}

func (m *Model) changes(q storage.ChangeQuery) (page storage.ChangePage, changed <-chan struct{}, err error) {
	defer m.mu.Unlock()
	if err := m.lock(); err != nil {
		return page, nil, err
	}
	if !m.info.Caps.Has(storage.CapChanges) {
		return page, nil, storage.ErrUnsupported
	}
	if err := q.Validate(); err != nil {
		return page, nil, err
	}
	m.collect()
	if q.FromNow {
		return storage.ChangePage{Next: m.state.version}, nil, nil
	}
	if err := q.CheckAfter(m.first, m.state.version); err != nil {
		return page, nil, err
	}
	c := storage.NewChangeCollector(q)
	for _, made := range m.log {
		if len(made) > 0 && made[0].Version > q.After && !c.Add(made[0].Version, made...) {
			return clonedChanges(c.Page()), m.changed, nil
		}
	}
	c.Reach(m.state.version)
	return clonedChanges(c.Page()), m.changed, nil
}

func clonedChanges(p storage.ChangePage) storage.ChangePage {
	for i := range p.Changes {
		c := &p.Changes[i]
		c.Key, c.End, c.Value = bytes.Clone(c.Key), bytes.Clone(c.End), bytes.Clone(c.Value)
	}
	return p
}
