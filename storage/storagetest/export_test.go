package storagetest

import (
	"context"
	"fmt"
)

// RunOne runs the check "category/name" alone.
func RunOne(ctx context.Context, f Factory, name string) Result {
	category, check := cut(name)
	for _, c := range Checks() {
		if c.Category == category && c.Name == check {
			return newKit(f, nil).run(ctx, c)
		}
	}
	return Result{Category: category, Name: check, Outcome: Failed, Text: fmt.Sprintf("there is no check %s", name)}
}
