package server

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// jsonFactor and jsonBase bound the body of a write set: JSON escapes a byte as
// six at worst, but base64 is there for such.
const (
	jsonFactor = 2
	jsonBase   = 1 << 20
)

func (c *call) jsonLimit() int64 {
	if b := c.server.config.BodyBytes; b > 0 {
		return b
	}
	if l := c.info().Limits.WriteBytes; l > 0 {
		return int64(l)*jsonFactor + jsonBase
	}
	return unlimitedBody
}

// apply answers POST of apply: a write set as JSON.
func (c *call) apply() error {
	if _, err := parseQuery(c.r.URL.RawQuery); err != nil {
		return err
	}
	if err := c.unconditional(); err != nil {
		return err
	}
	o, err := c.readJSON(c.jsonLimit(), c.server.config.MaxOps)
	if err != nil {
		return err
	}
	w, err := parseWriteSet(o, c.server.config.MaxOps, c.store.Now())
	if err != nil {
		return err
	}
	version, err := c.store.Apply(c.r.Context(), w)
	if err != nil {
		return err
	}
	h := c.w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	c.w.WriteHeader(http.StatusOK)
	if _, err := c.w.Write([]byte(`{"version":"` + strconv.FormatUint(version, 10) + "\"}\n")); err != nil {
		return errAborted
	}
	return nil
}

func parseWriteSet(o *object, maxOps int, now time.Time) (*storage.WriteSet, error) {
	if err := o.only("id", "checks", "ops"); err != nil {
		return nil, err
	}
	w := &storage.WriteSet{}
	if err := parseID(o, w); err != nil {
		return nil, err
	}
	checks, err := o.list("checks")
	if err != nil {
		return nil, err
	}
	ops, err := o.list("ops")
	if err != nil {
		return nil, err
	}
	if n := len(checks) + len(ops); n > maxOps {
		return nil, storage.LimitError(storage.SizeLimit, "ops", int64(maxOps), int64(n))
	}
	for _, o := range checks {
		check, err := parseCheck(o)
		if err != nil {
			return nil, err
		}
		w.Checks = append(w.Checks, check)
	}
	for _, o := range ops {
		op, err := parseOp(o, now)
		if err != nil {
			return nil, err
		}
		w.Ops = append(w.Ops, op)
	}
	return w, nil
}

func parseID(o *object, w *storage.WriteSet) error {
	if !o.has("id") {
		return nil
	}
	s, err := o.string("id")
	if err != nil {
		return err
	}
	id, err := decode64(s)
	if err != nil || len(id) != len(w.ID) {
		return badRequest("JSON: id must be 16 bytes in base64")
	}
	copy(w.ID[:], id)
	if w.ID == [16]byte{} {
		return badRequest("JSON: id must not be all zero")
	}
	return nil
}

// parseCheck reads a check: exactly one condition on a key, or on a range.
func parseCheck(o *object) (c storage.Check, err error) {
	if o.has("not_newer_than") {
		return parseRangeCheck(o)
	}
	if err := o.only("key", "key64", "is", "value", "value64", "version"); err != nil {
		return c, err
	}
	if c.Key, err = o.need("key"); err != nil {
		return c, err
	}
	conditions := 0
	if o.has("is") {
		conditions++
		switch is, err := o.string("is"); {
		case err != nil:
			return c, err
		case is == "absent":
			c.Kind = storage.CheckAbsent
		case is == "present":
			c.Kind = storage.CheckPresent
		default:
			return c, badRequest("JSON: %s must be absent or present", o.at("is"))
		}
	}
	if o.has("value") || o.has("value64") {
		conditions++
		c.Kind = storage.CheckValue
		if c.Value, err = o.bytes("value"); err != nil {
			return c, err
		}
	}
	if o.has("version") {
		conditions++
		c.Kind = storage.CheckVersion
		if c.Version, err = o.version("version"); err != nil {
			return c, err
		}
	}
	if conditions != 1 {
		return c, badRequest("JSON: %s must have exactly one of is, value and version", o.path)
	}
	return c, nil
}

func parseRangeCheck(o *object) (c storage.Check, err error) {
	c.Kind = storage.CheckRange
	if err := o.only("start", "start64", "end", "end64", "not_newer_than"); err != nil {
		return c, err
	}
	if c.Key, err = o.bytes("start"); err != nil {
		return c, err
	}
	if c.End, err = o.bytes("end"); err != nil {
		return c, err
	}
	c.Version, err = o.version("not_newer_than")
	return c, err
}

// version is a string of digits, or a number, which JavaScript cannot hold whole.
func (o *object) version(name string) (uint64, error) {
	var text string
	switch v := o.fields[name].(type) {
	case string:
		text = v
	case json.Number:
		text = v.String()
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, badRequest("JSON: %s must be a version, a string of digits", o.at(name))
	}
	return n, nil
}

func parseOp(o *object, now time.Time) (op storage.Op, err error) {
	kind, err := o.string("op")
	if err != nil {
		return op, err
	}
	switch kind {
	case "put":
		return parsePut(o, now)
	case "delete":
		if err := o.only("op", "key", "key64"); err != nil {
			return op, err
		}
		key, err := o.need("key")
		return storage.Delete(key), err
	case "delete_range":
		return parseDeleteRange(o)
	}
	return op, badRequest("JSON: %s must be put, delete or delete_range", o.at("op"))
}

func parsePut(o *object, now time.Time) (op storage.Op, err error) {
	if err := o.only("op", "key", "key64", "value", "value64", "ttl", "expires_at"); err != nil {
		return op, err
	}
	op.Kind = storage.OpPut
	if op.Key, err = o.need("key"); err != nil {
		return op, err
	}
	if op.Value, err = o.need("value"); err != nil {
		return op, err
	}
	q := query{}
	for _, name := range []string{"ttl", "expires_at"} {
		if o.has(name) {
			if q[name], err = o.string(name); err != nil {
				return op, err
			}
		}
	}
	if op.ExpiresAt, _, err = q.expiry(now); err != nil {
		return op, badRequest("JSON: %s: %v", o.path, err)
	}
	return op, nil
}

func parseDeleteRange(o *object) (op storage.Op, err error) {
	if err := o.only("op", "start", "start64", "end", "end64", "all"); err != nil {
		return op, err
	}
	start, err := o.bytes("start")
	if err != nil {
		return op, err
	}
	end, err := o.bytes("end")
	if err != nil {
		return op, err
	}
	all, ok := o.fields["all"].(bool)
	switch {
	case o.has("all") && !ok:
		return op, badRequest("JSON: %s must be true or false", o.at("all"))
	case all && (start != nil || end != nil):
		return op, badRequest("JSON: %s excludes start and end", o.at("all"))
	case !all && len(start) == 0 && end == nil:
		return op, badRequest("JSON: %s: refusing to delete the whole store; set \"all\": true to confirm", o.path)
	}
	return storage.DeleteRange(start, end), nil
}

// readKeys reads the keys of POST get: strings, or objects with key64.
func (c *call) readKeys() ([][]byte, error) {
	if _, err := parseQuery(c.r.URL.RawQuery); err != nil {
		return nil, err
	}
	o, err := c.readJSON(c.jsonLimit(), c.server.config.MaxKeys)
	if err != nil {
		return nil, err
	}
	if err := o.only("keys"); err != nil {
		return nil, err
	}
	array, ok := o.fields["keys"].([]node)
	if !ok {
		return nil, badRequest("JSON: keys must be an array")
	}
	if max := c.server.config.MaxKeys; len(array) > max {
		return nil, storage.LimitError(storage.SizeLimit, "keys", int64(max), int64(len(array)))
	}
	keys := make([][]byte, len(array))
	for i, n := range array {
		switch v := n.(type) {
		case string:
			keys[i] = []byte(v)
		case *object:
			if err := v.only("key", "key64"); err != nil {
				return nil, err
			}
			if keys[i], err = v.need("key"); err != nil {
				return nil, err
			}
		default:
			return nil, badRequest("JSON: keys[%d] must be a string, or an object with key64", i)
		}
		if err := c.info().Limits.CheckKey(keys[i]); err != nil {
			return nil, err
		}
	}
	return keys, nil
}
