package strictyaml

import (
	"fmt"
	"slices"
	"strings"
)

const (
	maxGuessLength = 64 // a longer name is no typing error, and comparing costs its square
	maxNamesShown  = 12
)

// Fold returns the form in which names of the environment and of flags are compared.
func Fold(name string) string {
	return strings.ReplaceAll(strings.ToLower(name), "-", "_")
}

// Nearest returns the known name that was probably meant, or "" if none is close.
func Nearest(name string, known []string) string {
	if len(name) > maxGuessLength {
		return ""
	}
	best, bestAt := "", maxGuessLength
	for _, k := range slices.Sorted(slices.Values(known)) {
		if len(k) > maxGuessLength {
			continue
		}
		limit := max(1, max(len(name), len(k))/3)
		if max(len(name), len(k))-min(len(name), len(k)) > limit {
			continue
		}
		if d := distance(Fold(name), Fold(k)); d <= limit && d < bestAt {
			best, bestAt = k, d
		}
	}
	return best
}

// Hint returns the end of a message about an unknown name: the nearest known name, or all
// known names if none is close.
func Hint(name string, known []string) string {
	if len(known) == 0 {
		return ""
	}
	if n := Nearest(name, known); n != "" {
		return fmt.Sprintf(": did you mean %q?", n)
	}
	return ": known are " + Names(known)
}

// Names lists names for a message, sorted and not too many.
func Names(known []string) string {
	sorted := slices.Compact(slices.Sorted(slices.Values(known)))
	more := ""
	if len(sorted) > maxNamesShown {
		more = fmt.Sprintf(" and %d more", len(sorted)-maxNamesShown)
		sorted = sorted[:maxNamesShown]
	}
	return strings.Join(sorted, ", ") + more
}

// distance counts insertions, deletions, replacements and swaps of neighbours
// between a and b (optimal string alignment).
func distance(a, b string) int {
	before := make([]int, len(b)+1)
	last := make([]int, len(b)+1)
	row := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
