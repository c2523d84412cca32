package server

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/plinthkv/plinth/storage"
)

// storeInfo describes a store, as JSON.
type storeInfo struct {
	Backend      string     `json:"backend"`
	Capabilities []string   `json:"capabilities"`
	Limits       infoLimits `json:"limits"`
}

// infoLimits holds the limits of a store. If zero, a field is left out: there is no limit.
type infoLimits struct {
	Key            int   `json:"key,omitempty"`
	Value          int   `json:"value,omitempty"`
	Ops            int   `json:"ops,omitempty"`
	WriteBytes     int   `json:"write_bytes,omitempty"`
	TTLPrecisionMS int64 `json:"ttl_precision_ms,omitempty"`
	Changes        int   `json:"changes,omitempty"`
	ChangesAgeMS   int64 `json:"changes_age_ms,omitempty"`
}

// describe handles GET of a store.
func (c *call) describe() (err error) {
	if c.query, err = parseQuery(c.r.URL.RawQuery); err != nil {
		return err
	}
	return c.json(infoOf(c.info()))
}

// named is a store in the list of all.
type named struct {
	Name string `json:"name"`
	storeInfo
}

// stores handles GET of all stores, in the order of their names.
func (c *call) stores() (err error) {
	if c.query, err = parseQuery(c.r.URL.RawQuery); err != nil {
		return err
	}
	all := []named{}
	for name, store := range c.server.now().stores {
		info := store.Info()
		all = append(all, named{name, infoOf(&info)})
	}
	slices.SortFunc(all, func(a, b named) int { return strings.Compare(a.Name, b.Name) })
	return c.json(map[string][]named{"stores": all})
}

// json writes v as the answer.
func (c *call) json(v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	h := c.w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if _, err := c.w.Write(append(body, '\n')); err != nil {
		return errAborted
	}
	return nil
}

func infoOf(i *storage.Info) storeInfo {
	return storeInfo{Backend: i.Name, Capabilities: append([]string{}, i.Caps.Names()...), Limits: infoLimits{
		Key: i.Limits.Key, Value: i.Limits.Value, Ops: i.Limits.Ops, WriteBytes: i.Limits.WriteBytes,
		TTLPrecisionMS: i.Limits.TTLPrecision.Milliseconds(),
		Changes:        i.Limits.Changes, ChangesAgeMS: i.Limits.ChangesAge.Milliseconds()}}
}
