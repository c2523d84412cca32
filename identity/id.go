package identity

import (
	"database/sql"
	"database/sql/driver"
	"encoding"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"strconv"
	"time"
)

// The kinds of IDs. Each is a type of its own: the compiler refuses one in place of another.
type (
	OrganizationSlug = ID[organization] // of an organization
	VaultSlug        = ID[vault]        // of a vault of an organization
	UserSlug         = ID[user]         // of a user
	ClientID         = ID[client]       // of an API client
	CertID           = ID[cert]         // of a client's certificate
)

type (
	organization struct{}
	vault        struct{}
	user         struct{}
	client       struct{}
	cert         struct{}
)

// ID identifies a thing of some kind. Any number converts to it.
type ID[kind any] uint64

// The layout of an ID.
const (
	sequenceBits = 10
	workerBits   = 12
	timeBits     = 64 - workerBits - sequenceBits
)

// epoch is where the time of IDs begins: 2024-01-01T00:00:00Z, in ms since 1970.
const epoch = 1_704_067_200_000

// Time returns when the ID was made, in UTC, by the clock of its generator.
func (id ID[K]) Time() time.Time {
	return time.UnixMilli(int64(id>>(workerBits+sequenceBits)) + epoch).UTC()
}

// Worker returns the worker number of the ID's generator, from 0 to 4095.
func (id ID[K]) Worker() int { return int(id >> sequenceBits & (1<<workerBits - 1)) }

// Sequence returns the place of the ID among those of its millisecond and worker, from 0
// to 1023.
func (id ID[K]) Sequence() int { return int(id & (1<<sequenceBits - 1)) }

// IsZero reports whether the ID is 0, which means that there is none.
func (id ID[K]) IsZero() bool { return id == 0 }

// String returns the decimal number.
func (id ID[K]) String() string { return strconv.FormatUint(uint64(id), 10) }

// Parse parses text as an ID: a decimal number of 64 bits without a sign or leading
// zeros. I is one of the kinds: Parse[VaultSlug]("17").
func Parse[I ~uint64](text string) (I, error) {
	if len(text) > 1 && text[0] == '0' || len(text) > 0 && text[0] == '+' {
		return 0, fmt.Errorf("%.40q is not an ID: it begins with %q", text, text[:1])
	}
	n, err := strconv.ParseUint(text, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return 0, fmt.Errorf("%.40q is not an ID: it is larger than %d", text, uint64(math.MaxUint64))
	case err != nil:
		return 0, fmt.Errorf("%.40q is not an ID: it must be a decimal number", text)
	}
	return I(n), nil
}

// Set sets the ID to the result of Parse, for package flag.
func (id *ID[K]) Set(text string) (err error) {
	*id, err = Parse[ID[K]](text)
	return err
}

// MarshalText returns the result of String, for keys of mappings in JSON and YAML.
func (id ID[K]) MarshalText() ([]byte, error) { return id.AppendText(nil) }

// AppendText appends String.
func (id ID[K]) AppendText(b []byte) ([]byte, error) {
	return strconv.AppendUint(b, uint64(id), 10), nil
}

// UnmarshalText sets the ID to the result of Parse.
func (id *ID[K]) UnmarshalText(text []byte) error { return id.Set(string(text)) }

// MarshalJSON returns a number. JavaScript loses the last digits of numbers above 2^53.
func (id ID[K]) MarshalJSON() ([]byte, error) { return id.MarshalText() }

// UnmarshalJSON reads a number, or a string with it from clients whose numbers are too
// small.
func (id *ID[K]) UnmarshalJSON(raw []byte) error {
	text := string(raw)
	if len(raw) > 0 && raw[0] == '"' {
		if err := json.Unmarshal(raw, &text); err != nil {
			return err
		}
	}
	return id.Set(text)
}

// Value returns the number for a column of type bigint. IDs of 2^63 and above, made from
// the year 2093 on, do not fit and are an error.
func (id ID[K]) Value() (driver.Value, error) {
	if id > math.MaxInt64 {
		return nil, fmt.Errorf("the ID %d is larger than an integer of SQL", uint64(id))
	}
	return int64(id), nil
}

// Scan reads a column with a number or its text. NULL is an error: scan it into an
// sql.Null[VaultSlug].
func (id *ID[K]) Scan(column any) error {
	switch v := column.(type) {
	case int64:
		if v < 0 {
			return fmt.Errorf("%d is not an ID: it is negative", v)
		}
		*id = ID[K](v)
		return nil
	case string:
		return id.Set(v)
	case []byte:
		return id.Set(string(v))
	}
	return fmt.Errorf("a column of type %T is not an ID", column)
}

var (
	_ flag.Value               = (*VaultSlug)(nil)
	_ sql.Scanner              = (*VaultSlug)(nil)
	_ driver.Valuer            = VaultSlug(0)
	_ json.Marshaler           = VaultSlug(0)
	_ json.Unmarshaler         = (*VaultSlug)(nil)
	_ encoding.TextMarshaler   = VaultSlug(0)
	_ encoding.TextUnmarshaler = (*VaultSlug)(nil)
)
