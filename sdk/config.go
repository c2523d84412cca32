package sdk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/plinthkv/plinth/storage"
)

// DecodeConfig decodes config strictly into v, a pointer to a struct that holds
// the defaults. Unknown fields, wrong types and anything after the object are
// InvalidArgument with the ConfigPath. An empty config leaves v as it is.
func DecodeConfig(config json.RawMessage, v any) error {
	if len(bytes.TrimSpace(config)) == 0 {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(config))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return configError(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return ConfigErrorf("", "something follows the configuration object")
	}
	return nil
}

// ConfigErrorf is the InvalidArgument for a bad value at path, such as
// "max_bytes" or "peers[2].addr".
func ConfigErrorf(path, format string, args ...any) error {
	e := storage.Errorf(storage.InvalidArgument, format, args...)
	e.ConfigPath = path
	return e
}

func configError(err error) error {
	var wrongType *json.UnmarshalTypeError
	var size *sizeError
	switch {
	case errors.As(err, &wrongType):
		return ConfigErrorf(wrongType.Field, "a %s is not a %s", wrongType.Value, wrongType.Type)
	case errors.As(err, &size):
		return ConfigErrorf("", "%v", size)
	}
	if _, field, ok := strings.Cut(err.Error(), "unknown field "); ok {
		name, _ := strconv.Unquote(field)
		return ConfigErrorf(name, "unknown field %s", field)
	}
	return ConfigErrorf("", "the configuration is not valid JSON for it: %v", err)
}

// Size is a number of bytes; in JSON a number, or a text with a unit: "64MiB",
// "1kB", "512".
type Size int64

type sizeError struct{ text string }

func (e *sizeError) Error() string {
	return fmt.Sprintf("%s is not a size: a number of bytes, or one with B, kB, MB, GB, KiB, MiB or GiB", e.text)
}

var sizeUnits = []struct {
	name  string
	bytes int64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1}, {"", 1}}

// UnmarshalJSON reads a number or a text with a unit.
func (s *Size) UnmarshalJSON(b []byte) error {
	text := string(b)
	if len(b) > 0 && b[0] == '"' {
		if err := json.Unmarshal(b, &text); err != nil {
			return err
		}
	}
	for _, u := range sizeUnits {
		digits, ok := strings.CutSuffix(text, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
		if err != nil || n < 0 || n > (1<<62)/u.bytes {
			break
		}
		*s = Size(n * u.bytes)
		return nil
	}
	return &sizeError{strconv.Quote(text)}
}
