package server

import (
	"errors"
	"mime"
	"net/http"
	"strings"

	"github.com/plinthkv/plinth/internal/strictjson"
	"github.com/plinthkv/plinth/storage"
)

// nodesOf returns the maximum number of JSON values for a request about so many items. Parsed
// JSON needs far more memory than its text, and the limit of items is checked only after
// parsing. No item has as many values.
func nodesOf(items int) int { return 8*items + 64 }

// readJSON reads a body that must be one JSON object, strictly, of at most that
// many items.
func (c *call) readJSON(max int64, items int) (*strictjson.Object, error) {
	kind, params, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	charset := strings.ToLower(params["charset"])
	if err != nil || kind != "application/json" || charset != "" && charset != "utf-8" {
		return nil, httpError(http.StatusUnsupportedMediaType, "unsupported_media_type", "the body must be application/json")
	}
	if c.r.Header.Get("Content-Encoding") != "" {
		return nil, httpError(http.StatusUnsupportedMediaType, "unsupported_media_type", "Content-Encoding is not supported")
	}
	body, err := c.readBody(max)
	if err != nil {
		return nil, err
	}
	if err := c.in.account.Take(c.r.Context(), 2*int64(len(body))); err != nil { // for what is made of it
		return nil, err
	}
	o, err := strictjson.Parse(body, nodesOf(items))
	var tooMany *storage.Error
	if err != nil && !errors.As(err, &tooMany) {
		err = badRequest("JSON: %v", err)
	}
	return o, err
}
