package main

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/plinthkv/plinth/internal/growth"
)

// growthGoal is by how much a work may grow faster than n·log n: for memory that no
// longer fits the processor's caches, and no more. The square of n comes to 11.
const growthGoal = 2.5

// growthTable prints how the time of works grows whose size callers choose.
func growthTable(only *regexp.Regexp, rounds int) {
	if !slices.ContainsFunc(growth.Works(), func(w growth.Work) bool { return only.MatchString("growth " + w.Name) }) {
		return
	}
	t := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintf(t, "\ngrowth\tn = %d\t4n\t16n\tover n·log n\tgoal\n", growth.Base)
	for _, w := range growth.Works() {
		if !only.MatchString("growth " + w.Name) {
			continue
		}
		took := growth.Measure(w, rounds)
		mark := "met"
		if took.Excess() > growthGoal {
			mark = "missed"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%.2f\t≤ %.4g %s\n", w.Name, round(took[0]), round(took[1]), round(took[2]), took.Excess(), growthGoal, mark)
	}
	t.Flush()
}

func round(d time.Duration) time.Duration { return d.Round(d / 100) }
