package strictyaml

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Bytes is a size in bytes. As text it is a whole number with a unit, such as 64MiB or
// 4kB, or without one. It is never negative.
type Bytes int64

// Duration is a length of time. As text it is a Go duration such as 500ms or 1h30m; 0
// needs no unit. It is never negative.
type Duration time.Duration

// sizeUnits are the units of a size, largest first among those of one family.
// 1KB is taken for what most people mean by it in a decimal family, 1000.
var sizeUnits = []struct {
	name   string
	factor int64
}{
	{"B", 1}, {"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12},
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
}

const (
	sizeHelp     = "write a whole number of bytes, or with one of B, kB, MB, GB, TB, KiB, MiB, GiB, TiB, as in 64MiB"
	durationHelp = "write a number with one of ns, us, ms, s, m, h, as in 30s or 1h30m"
)

// leadingZeros refuses what some readers take for octal, in all numbers with a unit.
const leadingZeros = "has a leading zero, which is octal for some readers: write it without"

var zeroFirst = regexp.MustCompile(`(^|[^0-9.])0[0-9]`)

var number = regexp.MustCompile(`^[-+]?[0-9]+(\.[0-9]*)?$`)

// parseBytes reads a size. What is wrong comes back as the rest of a sentence
// that begins with the value, so that the caller decides whether to show it.
func parseBytes(s string) (n int64, problem string) {
	digits := len(s) - len(strings.TrimLeft(s, "0123456789"))
	if digits == 0 {
		if strings.HasPrefix(s, "-") {
			return 0, "is negative: " + sizeHelp
		}
		return 0, "is not a size: " + sizeHelp
	}
	if zeroFirst.MatchString(s[:digits]) {
		return 0, leadingZeros
	}
	factor := int64(1)
	if unit := s[digits:]; unit != "" {
		factor = 0
		for _, u := range sizeUnits {
			if u.name == unit {
				factor = u.factor
			}
		}
		if factor == 0 {
			return 0, "is not a size: " + sizeHelp
		}
	}
	n, err := strconv.ParseInt(s[:digits], 10, 64)
	if err != nil || n > math.MaxInt64/factor {
		return 0, fmt.Sprintf("is too large: at most %d bytes", int64(math.MaxInt64))
	}
	return n * factor, ""
}

// parseDuration reads a duration; see parseBytes for problem.
func parseDuration(s string) (d time.Duration, problem string) {
	d, err := time.ParseDuration(s)
	switch {
	case err == nil && d < 0:
		return 0, "is negative: " + durationHelp
	case err == nil && zeroFirst.MatchString(s):
		return 0, leadingZeros
	case err == nil:
		return d, ""
	case number.MatchString(s):
		return 0, "has no unit: " + durationHelp
	}
	return 0, "is not a duration: " + durationHelp
}

// UnmarshalText reads a size; see [Bytes].
func (b *Bytes) UnmarshalText(text []byte) error {
	n, problem := parseBytes(string(text))
	if problem != "" {
		return fmt.Errorf("%q %s", Clip(string(text)), problem)
	}
	*b = Bytes(n)
	return nil
}

// MarshalText returns the size in the form that UnmarshalText reads.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// String returns the size in the largest binary unit that divides it.
func (b Bytes) String() string {
	for i := len(sizeUnits) - 1; i >= 0; i-- {
		u := sizeUnits[i]
		if strings.HasSuffix(u.name, "iB") && b != 0 && int64(b)%u.factor == 0 {
			return fmt.Sprintf("%d%s", int64(b)/u.factor, u.name)
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// UnmarshalText reads a duration; see [Duration].
func (d *Duration) UnmarshalText(text []byte) error {
	v, problem := parseDuration(string(text))
	if problem != "" {
		return fmt.Errorf("%q %s", Clip(string(text)), problem)
	}
	*d = Duration(v)
	return nil
}

// MarshalText returns the duration in the form that UnmarshalText reads.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// String returns the duration in Go's form, such as 1m30s.
func (d Duration) String() string { return time.Duration(d).String() }

// Clip shortens text for an error message.
func Clip(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	n := most
	for n > 0 && s[n]&0xC0 == 0x80 { // not in the middle of a character
		n--
	}
	return s[:n] + "…"
}
