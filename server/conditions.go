package server

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/plinthkv/plinth/storage"
)

// tags holds the values of If-Match or If-None-Match: any, or versions.
type tags struct {
	given    bool
	any      bool
	versions []uint64 // those that could be ours
}

// parseTags reads "*" or a list of tags. One that is not a version matches nothing, but is
// no error. A weak one, which proxies make of ours when they compress an answer, is as good
// in If-None-Match, and matches nothing in If-Match (RFC 9110, section 8.8.3.2).
func parseTags(h http.Header, name string) (t tags, err error) {
	values := h.Values(name)
	if len(values) == 0 {
		return t, nil
	}
	t.given = true
	list := strings.Join(values, ",")
	if strings.TrimSpace(list) == "*" {
		t.any = true
		return t, nil
	}
	for tag := range strings.SplitSeq(list, ",") {
		tag, weak := strings.CutPrefix(strings.TrimSpace(tag), "W/")
		inner, ok := strings.CutPrefix(tag, `"`)
		if inner, ok = cutSuffix(inner, `"`, ok); !ok || inner == "" || strings.Contains(inner, `"`) {
			return t, badRequest("%s: want * or a list of quoted tags", name)
		}
		if weak && name == "If-Match" {
			continue
		}
		if v, err := strconv.ParseUint(inner, 10, 64); err == nil && v != 0 && strconv.FormatUint(v, 10) == inner {
			t.versions = append(t.versions, v)
		}
	}
	return t, nil
}

func cutSuffix(s, suffix string, so bool) (string, bool) {
	rest, ok := strings.CutSuffix(s, suffix)
	return rest, ok && so
}

// matches reports whether an item, where there is one, is among the tags.
func (t tags) matches(version uint64, present bool) bool {
	return present && (t.any || slices.Contains(t.versions, version))
}

// conditions holds the conditions of one request.
type conditions struct{ match, noneMatch tags }

// conditions reads the request's. Tags need a backend that has versions.
func (c *call) conditions() (cond conditions, err error) {
	if cond.match, err = parseTags(c.r.Header, "If-Match"); err != nil {
		return cond, err
	}
	if cond.noneMatch, err = parseTags(c.r.Header, "If-None-Match"); err != nil {
		return cond, err
	}
	tagged := cond.match.given && !cond.match.any || cond.noneMatch.given && !cond.noneMatch.any
	if tagged && !c.info().Caps.Has(storage.CapVersions) {
		return cond, storage.Errorf(storage.Unsupported, "the store has no versions: If-Match and If-None-Match support only *")
	}
	return cond, nil
}

// writeConditions returns the conditions, without the dates that a store does not keep.
func (c *call) writeConditions() (conditions, error) {
	for _, name := range []string{"If-Modified-Since", "If-Unmodified-Since"} {
		if len(c.r.Header.Values(name)) > 0 {
			return conditions{}, badRequest("%s: a store keeps no dates; use If-Match", name)
		}
	}
	return c.conditions()
}

// unconditional refuses conditions on a write that takes none: one that is not
// looked at would be taken for one that holds.
func (c *call) unconditional() error {
	for _, name := range []string{"If-Match", "If-None-Match"} {
		if len(c.r.Header.Values(name)) > 0 {
			return badRequest("%s: conditions are for PUT and DELETE of one key; a write set has checks", name)
		}
	}
	_, err := c.writeConditions()
	return err
}

// attempts limits how often a condition that needs more than one check is retried after
// concurrent writes.
const attempts = 8

// applyIf applies op to the call's key if the conditions hold. Those that are one
// check are one Apply; others are judged on what is read, and that must still be
// so when the write lands.
func (c *call) applyIf(cond conditions, op storage.Op) (uint64, error) {
	if checks, ok := cond.checks(c.key); ok {
		return c.write(checks, op)
	}
	var err error
	held := c.in.account.Held()
	for range attempts {
		var it storage.Item
		it, err = c.item()
		it.Value = nil // the version is all that counts
		c.in.account.Give(c.in.account.Held() - held)
		present := err == nil
		if err != nil && storage.CodeOf(err) != storage.NotFound {
			return 0, err
		}
		if !cond.hold(it.Version, present) {
			return 0, errPrecondition
		}
		check := storage.Absent(c.key)
		if present {
			check.Kind, check.Version = storage.CheckVersion, it.Version
		}
		var version uint64
		if version, err = c.write([]storage.Check{check}, op); storage.CodeOf(err) != storage.Conflict {
			return version, err
		}
	}
	return 0, err
}

var errPrecondition = storage.ConflictAt(0)

// checks returns the conditions as checks of a write set, where they can be.
func (cond conditions) checks(key []byte) ([]storage.Check, bool) {
	switch {
	case !cond.match.given && !cond.noneMatch.given:
		return nil, true
	case cond.match.given && cond.noneMatch.given:
		return nil, false
	case cond.noneMatch.any:
		return []storage.Check{storage.Absent(key)}, true
	case cond.match.any:
		return []storage.Check{storage.Present(key)}, true
	case cond.match.given && len(cond.match.versions) == 1:
		return []storage.Check{storage.HasVersion(key, cond.match.versions[0])}, true
	}
	return nil, false
}

func (cond conditions) hold(version uint64, present bool) bool {
	if cond.match.given && !cond.match.matches(version, present) {
		return false
	}
	return !cond.noneMatch.given || !cond.noneMatch.matches(version, present)
}

func (c *call) write(checks []storage.Check, op storage.Op) (uint64, error) {
	return c.store.Apply(c.r.Context(), &storage.WriteSet{Checks: checks, Ops: []storage.Op{op}})
}
