package main

import (
	"net/url"
	"regexp"
)

var urls = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://[^\s"'<>]+`)

// withoutSecrets leaves of every URL in a text its scheme and host: what else it holds may
// be a key, which some services put into the path or the query.
func withoutSecrets(text string) string {
	return urls.ReplaceAllStringFunc(text, func(raw string) string {
		u, err := url.Parse(raw)
		if err != nil || u.Host == "" {
			return "(a URL)"
		}
		short := u.Scheme + "://" + u.Host
		if u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.User != nil || u.Fragment != "" {
			short += "/…"
		}
		return short
	})
}
