package server

import (
	"context"
	"net/http"
	"strconv"

	"github.com/plinthkv/plinth/internal/budget"
	"github.com/plinthkv/plinth/storage"
)

// get handles GET and HEAD of a key.
func (c *call) get() error {
	if err := c.parseItem(); err != nil {
		return err
	}
	cond, err := c.conditions()
	if err != nil {
		return err
	}
	it, err := c.item()
	if err != nil {
		return err
	}
	c.itemHeader(it)
	switch {
	case cond.match.given && !cond.match.matches(it.Version, true):
		return errPrecondition
	case cond.noneMatch.given && cond.noneMatch.matches(it.Version, true):
		c.w.WriteHeader(http.StatusNotModified)
		return nil
	}
	h := c.w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Length", strconv.Itoa(len(it.Value)))
	c.w.WriteHeader(http.StatusOK)
	if c.r.Method == http.MethodHead {
		return nil
	}
	if _, err := c.send(it.Value); err != nil {
		return errAborted
	}
	return nil
}

// item reads the call's key, with room for the stored item.
func (c *call) item() (it storage.Item, err error) {
	err = c.fetch(1, func() (_ int64, err error) {
		it, err = c.store.GetItem(c.r.Context(), c.key)
		return budget.ItemBytes(&it), err
	}, func() { it = storage.Item{} })
	return it, err
}

// unchanged returns the check that the call's key still holds what was read: by version, or by
// value on a backend without versions.
func (c *call) unchanged(it storage.Item) storage.Check {
	if it.Version != 0 {
		return storage.Check{Kind: storage.CheckVersion, Key: c.key, Version: it.Version}
	}
	return storage.Check{Kind: storage.CheckValue, Key: c.key, Value: it.Value}
}

// itemHeader sets the headers that describe an item.
func (c *call) itemHeader(it storage.Item) {
	h := c.w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	c.tag(it.Version)
	if !it.ExpiresAt.IsZero() {
		h.Set("Plinth-Expires-At", formatTime(it.ExpiresAt))
	}
}

// tag returns the ETag of a version; a backend without versions has none.
func (c *call) tag(version uint64) {
	if version != 0 {
		c.w.Header()["ETag"] = []string{strconv.Quote(strconv.FormatUint(version, 10))}
	}
}

// put handles PUT of a key.
func (c *call) put() error {
	if err := c.parseItem("ttl", "expires_at"); err != nil {
		return err
	}
	if c.r.Header.Get("Content-Encoding") != "" {
		return httpError(http.StatusUnsupportedMediaType, "unsupported_media_type", "Content-Encoding: values are stored as they are")
	}
	if c.r.Header.Get("Content-Range") != "" {
		return badRequest("Content-Range: a value is stored as a whole, not in parts")
	}
	cond, err := c.writeConditions()
	if err != nil {
		return err
	}
	at, _, err := c.query.expiry(c.store.Now())
	if err != nil {
		return err
	}
	limits := c.info().Limits
	if err := limits.CheckKey(c.key); err != nil {
		return err
	}
	value, err := c.readBody(c.valueLimit(limits))
	if err != nil {
		return err
	}
	version, err := c.applyIf(cond, storage.PutUntil(c.key, value, at))
	if err != nil {
		return err
	}
	c.tag(version)
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// unlimitedBody limits a body where neither store nor configuration does.
const unlimitedBody = 64 << 20

func (c *call) valueLimit(l storage.Limits) int64 {
	most := int64(unlimitedBody)
	if l.Value > 0 {
		most = int64(l.Value)
	}
	if b := c.server.now().body; b > 0 {
		most = min(most, b)
	}
	return most
}

// delete handles DELETE of a key.
func (c *call) delete() error {
	if err := c.parseItem(); err != nil {
		return err
	}
	cond, err := c.writeConditions()
	if err != nil {
		return err
	}
	if _, err := c.applyIf(cond, storage.Delete(c.key)); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// touch handles POST of a key with touch=true: another expiry, or none.
func (c *call) touch() error {
	if err := c.parseItem("touch", "ttl", "expires_at"); err != nil {
		return err
	}
	if touch, err := c.query.bool("touch"); err != nil || !touch {
		if err == nil {
			err = badRequest("POST to a key takes touch=true; PUT stores a value")
		}
		return err
	}
	if err := c.unconditional(); err != nil {
		return err
	}
	at, _, err := c.query.expiry(c.store.Now())
	if err != nil {
		return err
	}
	held := c.in.account.Held()
	_, err = storage.RetryOnConflict(c.r.Context(), storage.Backoff{}, func(context.Context) (uint64, error) {
		defer func() { c.in.account.Give(c.in.account.Held() - held) }()
		it, err := c.item()
		if err != nil {
			return 0, err
		}
		return c.write([]storage.Check{c.unchanged(it)}, storage.PutUntil(c.key, it.Value, at))
	})
	if err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}
