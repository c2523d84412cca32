package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/plinthkv/plinth"
)

// row is a line of the table.
type row struct {
	work, subject string
	floor         string  // the subject that is 1 for this work; empty if none
	goal          float64 // maximum ratio to the floor; 0 means none
	allocs        int     // a goal too; 0 means none
	per           int     // items in an operation, by which it is divided; by default 1
	run           func(b *testing.B)
	least         testing.BenchmarkResult
}

func (r *row) ns() float64 {
	return float64(r.least.T.Nanoseconds()) / float64(r.least.N) / float64(max(r.per, 1))
}

func main() {
	plinth.RunWorker(durableBackend, etcdBackend, postgresBackend)
	child()
	testing.Init()
	rounds := flag.Int("rounds", 5, "rounds; the least of each row counts")
	each := flag.Duration("time", 100*time.Millisecond, "how long each row runs in a round")
	only := flag.String("run", "", "only rows whose work and subject match")
	flag.Parse()
	if err := flag.Set("test.benchtime", each.String()); err != nil {
		fatal(err)
	}
	filter, err := regexp.Compile(*only)
	if err != nil {
		fatal(err)
	}
	ctx := context.Background()
	all, closeAll, err := rows(ctx)
	if err != nil {
		fatal(err)
	}
	onDisk, closeDisk := durableRows()
	onEtcd, closeEtcd := etcdRows()
	onServer, closeServer := postgresRows()
	all = slices.Concat(all, onDisk, onEtcd, onServer)
	var chosen []*row
	for _, r := range all {
		if filter.MatchString(r.work + " " + r.subject) {
			chosen = append(chosen, r)
		}
	}
	var progress io.Writer = io.Discard // a file has no use for it
	if info, err := os.Stderr.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
		progress = os.Stderr
	}
	for round := range *rounds {
		for i, r := range chosen {
			fmt.Fprintf(progress, "\r\x1b[Kround %d of %d, row %d of %d: %s, %s", round+1, *rounds, i+1, len(chosen), r.work, r.subject)
			got := testing.Benchmark(func(b *testing.B) { b.ReportAllocs(); r.run(b) })
			if got.N == 0 {
				fatal(fmt.Errorf("%s, %s: failed", r.work, r.subject))
			}
			if r.least.N == 0 || got.T.Seconds()/float64(got.N) < r.least.T.Seconds()/float64(r.least.N) {
				r.least = got
			}
		}
	}
	fmt.Fprint(progress, "\r\x1b[K")
	print(chosen)
	if err := errors.Join(closeAll(), closeDisk(), closeEtcd(), closeServer()); err != nil {
		fatal(err)
	}
	if filter.MatchString("work in another process") || filter.MatchString("get, 1 caller, processors busy") {
		works := filter
		if filter.MatchString("work in another process") {
			works = regexp.MustCompile("")
		}
		if err := processTable(ctx, works, *rounds, *each); err != nil {
			fatal(err)
		}
	}
	growthTable(filter, *rounds)
	if err := changesTable(ctx, filter, *each); err != nil {
		fatal(err)
	}
	if filter.MatchString("reload") {
		if err := reloadTable(ctx); err != nil {
			fatal(err)
		}
	}
	if filter.MatchString("serve ready") {
		if err := startup(ctx); err != nil {
			fatal(err)
		}
	}
}

// print writes the table: every row next to the floor of its work.
func print(rows []*row) {
	byName := map[string]*row{}
	for _, r := range rows {
		byName[r.work+"/"+r.subject] = r
	}
	t := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "work\tsubject\tns\tratio\tgoal\tallocs\tbytes")
	last := ""
	for _, r := range rows {
		if r.work != last {
			fmt.Fprintln(t, "\t\t\t\t\t\t")
			last = r.work
		}
		ratio, goal := "", ""
		if f := byName[r.work+"/"+r.floor]; f != nil {
			x := r.ns() / f.ns()
			ratio = fmt.Sprintf("%.2f", x)
			if r.goal > 0 {
				mark := "met"
				if x > r.goal || r.allocs > 0 && r.least.AllocsPerOp() > int64(r.allocs) {
					mark = "missed"
				}
				goal = fmt.Sprintf("≤ %.4g %s", r.goal, mark)
			}
		}
		fmt.Fprintf(t, "%s\t%s\t%.0f\t%s\t%s\t%d\t%d\n", r.work, r.subject, r.ns(), ratio, goal, r.least.AllocsPerOp(), r.least.AllocedBytesPerOp())
	}
	t.Flush()
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, "bench:", err)
	os.Exit(1)
}
