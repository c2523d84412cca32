package strictyaml

import (
	"regexp"
	"strconv"
	"strings"
)

// core is the type of a plain scalar in YAML 1.2's core schema. The older words
// (yes, on, 1_000, 12:30, dates) are plain strings here.
type core uint8

const (
	coreString core = iota
	coreNull
	coreBool
	coreInt
	coreFloat
	coreAmbiguous // 0644: octal for some readers of YAML, decimal for others
	coreNotFinite // .inf, .nan
)

var (
	coreIntForm       = regexp.MustCompile(`^([-+]?(0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+)$`)
	coreFloatForm     = regexp.MustCompile(`^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$`)
	coreAmbiguousForm = regexp.MustCompile(`^[-+]?0[0-9]+$`)
	coreNotFiniteForm = regexp.MustCompile(`^([-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$`)
)

func coreType(s string) core {
	switch s {
	case "", "~", "null", "Null", "NULL":
		return coreNull
	case "true", "True", "TRUE", "false", "False", "FALSE":
		return coreBool
	}
	switch {
	case coreIntForm.MatchString(s):
		return coreInt
	case coreAmbiguousForm.MatchString(s):
		return coreAmbiguous
	case coreFloatForm.MatchString(s):
		return coreFloat
	case coreNotFiniteForm.MatchString(s):
		return coreNotFinite
	}
	return coreString
}

const ambiguousNumber = "is octal for some readers of YAML and decimal for others: write it without the leading zero, with 0o, or in quotes"

// splitInt cuts a number of core type int into sign, digits and base.
func splitInt(s string) (negative bool, digits string, base int) {
	switch {
	case strings.HasPrefix(s, "0x"):
		return false, s[2:], 16
	case strings.HasPrefix(s, "0o"):
		return false, s[2:], 8
	}
	return strings.HasPrefix(s, "-"), strings.TrimLeft(s, "+-"), 10
}

func parseInt(s string, bits int) (int64, error) {
	negative, digits, base := splitInt(s)
	if negative {
		digits = "-" + digits
	}
	return strconv.ParseInt(digits, base, bits)
}

func parseUint(s string, bits int) (uint64, error) {
	negative, digits, base := splitInt(s)
	if negative && strings.Trim(digits, "0") != "" {
		return 0, strconv.ErrRange
	}
	return strconv.ParseUint(digits, base, bits)
}
