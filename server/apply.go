package server

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/plinthkv/plinth/internal/strictjson"
	"github.com/plinthkv/plinth/storage"
)

// jsonFactor and jsonBase bound the body of a write set: JSON escapes a byte as
// six at worst, but base64 is there for such.
const (
	jsonFactor = 2
	jsonBase   = 1 << 20
)

func (c *call) jsonLimit() int64 {
	if b := c.server.now().body; b > 0 {
		return b
	}
	if l := c.info().Limits.WriteBytes; l > 0 {
		return int64(l)*jsonFactor + jsonBase
	}
	return unlimitedBody
}

// apply handles POST of apply: a write set as JSON.
func (c *call) apply() error {
	if _, err := parseQuery(c.r.URL.RawQuery); err != nil {
		return err
	}
	if err := c.unconditional(); err != nil {
		return err
	}
	o, err := c.readJSON(c.jsonLimit(), c.server.now().maxOps)
	if err != nil {
		return err
	}
	w, err := parseWriteSet(o, c.server.now().maxOps, c.store.Now())
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

func parseWriteSet(o *strictjson.Object, maxOps int, now time.Time) (*storage.WriteSet, error) {
	if err := o.Only("id", "checks", "ops"); err != nil {
		return nil, err
	}
	w := &storage.WriteSet{}
	if err := parseID(o, w); err != nil {
		return nil, err
	}
	checks, err := o.List("checks")
	if err != nil {
		return nil, err
	}
	ops, err := o.List("ops")
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

func parseID(o *strictjson.Object, w *storage.WriteSet) error {
	if !o.Has("id") {
		return nil
	}
	s, err := o.Text("id")
	if err != nil {
		return err
	}
	id, err := strictjson.Decode64(s)
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
func parseCheck(o *strictjson.Object) (c storage.Check, err error) {
	if o.Has("not_newer_than") {
		return parseRangeCheck(o)
	}
	if err := o.Only("key", "key64", "is", "value", "value64", "version"); err != nil {
		return c, err
	}
	if c.Key, err = o.Need("key"); err != nil {
		return c, err
	}
	conditions := 0
	if o.Has("is") {
		conditions++
		switch is, err := o.Text("is"); {
		case err != nil:
			return c, err
		case is == "absent":
			c.Kind = storage.CheckAbsent
		case is == "present":
			c.Kind = storage.CheckPresent
		default:
			return c, badRequest("JSON: %s must be absent or present", o.At("is"))
		}
	}
	if o.Has("value") || o.Has("value64") {
		conditions++
		c.Kind = storage.CheckValue
		if c.Value, err = o.Bytes("value"); err != nil {
			return c, err
		}
	}
	if o.Has("version") {
		conditions++
		c.Kind = storage.CheckVersion
		if c.Version, err = version(o, "version"); err != nil {
			return c, err
		}
	}
	if conditions != 1 {
		return c, badRequest("JSON: %s must have exactly one of is, value and version", o.Path)
	}
	return c, nil
}

func parseRangeCheck(o *strictjson.Object) (c storage.Check, err error) {
	c.Kind = storage.CheckRange
	if err := o.Only("start", "start64", "end", "end64", "not_newer_than"); err != nil {
		return c, err
	}
	if c.Key, err = o.Bytes("start"); err != nil {
		return c, err
	}
	if c.End, err = o.Bytes("end"); err != nil {
		return c, err
	}
	c.Version, err = version(o, "not_newer_than")
	return c, err
}

// version is a string of digits, or a number, which JavaScript cannot hold whole.
func version(o *strictjson.Object, name string) (uint64, error) {
	var text string
	switch v := o.Fields[name].(type) {
	case string:
		text = v
	case json.Number:
		text = v.String()
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, badRequest("JSON: %s must be a version, a string of digits", o.At(name))
	}
	return n, nil
}

func parseOp(o *strictjson.Object, now time.Time) (op storage.Op, err error) {
	kind, err := o.Text("op")
	if err != nil {
		return op, err
	}
	switch kind {
	case "put":
		return parsePut(o, now)
	case "delete":
		if err := o.Only("op", "key", "key64"); err != nil {
			return op, err
		}
		key, err := o.Need("key")
		return storage.Delete(key), err
	case "delete_range":
		return parseDeleteRange(o)
	}
	return op, badRequest("JSON: %s must be put, delete or delete_range", o.At("op"))
}

func parsePut(o *strictjson.Object, now time.Time) (op storage.Op, err error) {
	if err := o.Only("op", "key", "key64", "value", "value64", "ttl", "expires_at"); err != nil {
		return op, err
	}
	op.Kind = storage.OpPut
	if op.Key, err = o.Need("key"); err != nil {
		return op, err
	}
	if op.Value, err = o.Need("value"); err != nil {
		return op, err
	}
	q := query{}
	for _, name := range []string{"ttl", "expires_at"} {
		if o.Has(name) {
			if q[name], err = o.Text(name); err != nil {
				return op, err
			}
		}
	}
	if op.ExpiresAt, _, err = q.expiry(now); err != nil {
		return op, badRequest("JSON: %s: %v", o.Path, err)
	}
	return op, nil
}

func parseDeleteRange(o *strictjson.Object) (op storage.Op, err error) {
	if err := o.Only("op", "start", "start64", "end", "end64", "all"); err != nil {
		return op, err
	}
	start, err := o.Bytes("start")
	if err != nil {
		return op, err
	}
	end, err := o.Bytes("end")
	if err != nil {
		return op, err
	}
	all, ok := o.Fields["all"].(bool)
	switch {
	case o.Has("all") && !ok:
		return op, badRequest("JSON: %s must be true or false", o.At("all"))
	case all && (start != nil || end != nil):
		return op, badRequest("JSON: %s excludes start and end", o.At("all"))
	case !all && len(start) == 0 && end == nil:
		return op, badRequest("JSON: %s: refusing to delete the whole store; set \"all\": true to confirm", o.Path)
	}
	return storage.DeleteRange(start, end), nil
}

// readKeys reads the keys of POST get: strings, or objects with key64.
func (c *call) readKeys() ([][]byte, error) {
	if _, err := parseQuery(c.r.URL.RawQuery); err != nil {
		return nil, err
	}
	o, err := c.readJSON(c.jsonLimit(), c.server.now().maxKeys)
	if err != nil {
		return nil, err
	}
	if err := o.Only("keys"); err != nil {
		return nil, err
	}
	array, ok := o.Fields["keys"].([]strictjson.Node)
	if !ok {
		return nil, badRequest("JSON: keys must be an array")
	}
	if max := c.server.now().maxKeys; len(array) > max {
		return nil, storage.LimitError(storage.SizeLimit, "keys", int64(max), int64(len(array)))
	}
	keys := make([][]byte, len(array))
	for i, n := range array {
		switch v := n.(type) {
		case string:
			keys[i] = []byte(v)
		case *strictjson.Object:
			if err := v.Only("key", "key64"); err != nil {
				return nil, err
			}
			if keys[i], err = v.Need("key"); err != nil {
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
