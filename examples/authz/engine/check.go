package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/plinthkv/plinth/examples/authz/repository"
)

// Limits bound the work of a check. A check beyond them is a [*LimitError], and never "no".
type Limits struct {
	Depth int // levels of indirection
	Reads int // keys, ranges and items read; a store may allow fewer
}

// DefaultLimits returns those of the service.
func DefaultLimits() Limits { return Limits{Depth: 32, Reads: 1000} }

// LimitError reports a check that exceeds its limits: neither yes nor no.
type LimitError struct {
	Kind string // depth or reads
	Err  error
}

// Error says what is exceeded.
func (e *LimitError) Error() string { return "the check is too large: " + e.Err.Error() }

// Unwrap returns the cause.
func (e *LimitError) Unwrap() error { return e.Err }

// Checker checks whether a subject has a relation. It is safe for concurrent use.
type Checker struct {
	relationships *repository.Relationships
	limits        Limits
}

// NewChecker returns a checker over a repository.
func NewChecker(r *repository.Relationships, l Limits) *Checker { return &Checker{r, l} }

// Answer holds the outcome of a check.
type Answer struct {
	Allowed bool
	Depth   int // levels of indirection that were searched
	Reads   int // keys, ranges and items that were read
}

// Check reports whether a subject is in a userset, directly or through other usersets: user:ada
// is in doc:readme#viewer if she is a viewer, or if group:eng#member is one and she is in that,
// and so on. Usersets may contain each other: each is searched once.
//
// It sees one state of the vault, no older than the call. Its errors are [*LimitError] and those
// of [repository.Relationships.Apply].
func (c *Checker) Check(ctx context.Context, id repository.VaultID, of repository.Userset, s repository.Subject) (answer Answer, err error) {
	err = c.relationships.View(ctx, id, c.limits.Reads, func(v *repository.View) (err error) {
		answer, err = c.search(ctx, v, of, s)
		return err
	})
	return answer, err
}

// search goes through the usersets level by level. One call looks for the subject in all
// usersets of a level.
func (c *Checker) search(ctx context.Context, v *repository.View, of repository.Userset, s repository.Subject) (a Answer, err error) {
	seen := map[repository.Userset]bool{of: true}
	for level := []repository.Userset{of}; len(level) > 0; a.Depth++ {
		if a.Depth > c.limits.Depth {
			return a, &LimitError{"depth", fmt.Errorf("it has more than %d levels of indirection", c.limits.Depth)}
		}
		a.Allowed, err = v.Any(ctx, level, s)
		if a.Reads = v.Reads(); a.Allowed || err != nil {
			return a, tooLarge(err)
		}
		var next []repository.Userset
		for _, set := range level {
			if err := v.Usersets(ctx, set, func(u repository.Userset) {
				if !seen[u] {
					seen[u], next = true, append(next, u)
				}
			}); err != nil {
				return a, tooLarge(err)
			}
		}
		level = next
	}
	a.Depth--
	a.Reads = v.Reads()
	return a, nil
}

// tooLarge names the limit of the reads.
func tooLarge(err error) error {
	if errors.Is(err, repository.ErrReads) {
		return &LimitError{"reads", err}
	}
	return err
}
