package setup

import (
	"cmp"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"

	"github.com/plinthkv/plinth/config"
)

// LogTo writes what OpenTelemetry reports of itself to handler, not by way of OpenTelemetry:
// failed exports, and what its SDK finds wrong with the environment. Call it before [Setup].
// clean, which may be nil, and the function that LogTo returns take secrets out of a text;
// the latter also those of the section and of the environment: paths of endpoints, and
// values of headers, which a collector may repeat in its answer.
func LogTo(section *config.Node, handler slog.Handler, clean func(string) string) func(string) string {
	known := secretsOf(section)
	without := func(text string) string {
		text = known.Replace(text)
		if clean != nil {
			text = clean(text)
		}
		return text
	}
	log := slog.New(handler)
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("telemetry", "error", without(err.Error())) }))
	otel.SetLogger(logr.New(&sink{log, without}))
	slog.SetDefault(log) // parts of the SDK use that
	return without
}

// sink is OpenTelemetry's own logger. The values that come with a message are dropped: among
// them are whole variables.
type sink struct {
	log     *slog.Logger
	without func(string) string
}

// Init is not used.
func (*sink) Init(logr.RuntimeInfo) {}

// Enabled reports whether a level is OpenTelemetry's for warnings, or above.
func (*sink) Enabled(level int) bool { return level <= 1 }

// Info writes a warning.
func (s *sink) Info(_ int, message string, _ ...any) {
	s.log.Warn("telemetry", "warning", s.without(message))
}

// Error writes an error.
func (s *sink) Error(err error, message string, _ ...any) {
	if err != nil {
		message += ": " + err.Error()
	}
	s.log.Warn("telemetry", "error", s.without(message))
}

// WithValues drops the values.
func (s *sink) WithValues(...any) logr.LogSink { return s }

// WithName drops the name.
func (s *sink) WithName(string) logr.LogSink { return s }

// hidden stands in place of a secret.
const hidden = "(hidden)"

// secretsOf returns what hides the paths of endpoints and the values of headers, of the section
// and of the environment.
func secretsOf(section *config.Node) *strings.Replacer {
	found := secrets{}
	for _, line := range os.Environ() {
		name, value, _ := strings.Cut(line, "=")
		switch {
		case !strings.HasPrefix(name, "OTEL_EXPORTER_"):
		case strings.HasSuffix(name, "_HEADERS"):
			found.headers(value)
		case strings.HasSuffix(name, "_ENDPOINT"):
			found.endpoint(value)
		}
	}
	if raw, err := valueOf(section); err == nil {
		found.walk(raw)
	}
	var all []string
	for text := range found {
		all = append(all, text)
	}
	slices.SortFunc(all, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) }) // a whole before its parts
	var pairs []string
	for _, text := range all {
		pairs = append(pairs, text, found[text])
	}
	return strings.NewReplacer(pairs...)
}

// secrets has what to write in place of a text.
type secrets map[string]string

// ordinary are parts of paths and of headers that are no secrets.
var ordinary = []string{"traces", "metrics", "opentelemetry", "bearer", "digest"}

// shortest is the shortest part that is hidden: shorter ones would hit other words.
const shortest = 6

func (s secrets) add(text, instead string) {
	if len(text) >= shortest && !slices.Contains(ordinary, strings.ToLower(text)) {
		s[text] = instead
	}
}

// endpoint adds the path and the query of an endpoint, and their parts.
func (s secrets) endpoint(text string) {
	if !strings.Contains(text, "://") { // gRPC's host:port
		text = "grpc://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		s.add(text, hidden)
		return
	}
	if password, ok := u.User.Password(); ok {
		s.add(password, hidden)
	}
	for _, path := range []string{u.Path, u.EscapedPath()} {
		if parts := strings.Split(strings.Trim(path, "/"), "/"); !slices.Equal(parts, []string{"v1", parts[len(parts)-1]}) {
			s.add(strings.TrimRight(path, "/"), "/…")
		}
		for part := range strings.SplitSeq(path, "/") {
			s.add(part, "…")
		}
	}
	s.add(u.RawQuery, hidden)
	for _, values := range u.Query() {
		for _, value := range values {
			s.add(value, hidden)
		}
	}
}

// headers adds the values of headers, as NAME=VALUE with commas between, and all of what is
// not of that form.
func (s secrets) headers(text string) {
	s.add(strings.TrimSpace(text), hidden)
	for entry := range strings.SplitSeq(text, ",") {
		s.add(strings.TrimSpace(entry), hidden)
		_, value, ok := strings.Cut(entry, "=")
		if !ok {
			value = entry
		}
		s.header(value)
	}
}

// header adds the value of a header, and its words.
func (s secrets) header(value string) {
	plain, err := url.PathUnescape(value)
	if err != nil {
		plain = value
	}
	for _, text := range []string{value, plain} {
		s.add(strings.TrimSpace(text), hidden)
		for word := range strings.FieldsSeq(text) {
			s.add(word, hidden)
		}
	}
}

// walk adds the secrets of a section.
func (s secrets) walk(v any) {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			s.walk(item)
		}
	case map[string]any:
		if endpoint, ok := v["endpoint"].(string); ok {
			s.endpoint(endpoint)
		}
		if list, ok := v["headers_list"].(string); ok {
			s.headers(list)
		}
		headers, _ := v["headers"].([]any)
		for _, item := range headers {
			if header, _ := item.(map[string]any); header != nil {
				value, _ := header["value"].(string)
				s.header(value)
			}
		}
		for _, below := range v {
			s.walk(below)
		}
	}
}

// valueOf returns a section as the values of its JSON.
func valueOf(section *config.Node) (any, error) {
	if section.IsEmpty() {
		return nil, nil
	}
	var root any
	err := section.Decode(&root)
	return root, err
}
