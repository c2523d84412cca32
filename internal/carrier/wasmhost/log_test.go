package wasmhost_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plinthkv/plinth/internal/carrier"
	"github.com/plinthkv/plinth/internal/carrier/wasmhost"
	"github.com/plinthkv/plinth/internal/supervise"
	"github.com/plinthkv/plinth/storage"
)

// logged is a log that keeps its lines: level, message, attributes.
type logged struct {
	mu    sync.Mutex
	lines []string
	attrs []slog.Attr
	to    *logged // where it was made from
}

func (l *logged) Enabled(context.Context, slog.Level) bool { return true }

func (l *logged) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "plugin state" && r.Level < slog.LevelInfo { // it starts, and is closed
		return nil
	}
	line := fmt.Sprintf("%v %s", r.Level, r.Message)
	add := func(a slog.Attr) bool {
		line += fmt.Sprintf(" %s=%v", a.Key, a.Value)
		return true
	}
	for _, a := range l.attrs {
		add(a)
	}
	r.Attrs(add)
	to := l
	if l.to != nil {
		to = l.to
	}
	to.mu.Lock()
	defer to.mu.Unlock()
	to.lines = append(to.lines, line)
	return nil
}

func (l *logged) WithAttrs(attrs []slog.Attr) slog.Handler {
	to := l
	if l.to != nil {
		to = l.to
	}
	return &logged{attrs: slices.Concat(l.attrs, attrs), to: to}
}

func (l *logged) WithGroup(string) slog.Handler { return l }

// take gives what was logged since the last time.
func (l *logged) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := l.lines
	l.lines = nil
	return lines
}

func (l *logged) expect(t *testing.T, want ...string) {
	t.Helper()
	if got := l.take(); !slices.Equal(got, want) {
		t.Errorf("the log has\n%q\nwant\n%q", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// talking is the hostile guest with a log, and a way to have it do what a key says.
func talking(t *testing.T, env map[string]string) (*logged, func(act string)) {
	t.Helper()
	log := &logged{}
	b := openGuest(t, "hostile", "", wasmhost.Options{Name: "acme", Log: slog.New(log), Env: carrier.EnvOf(env)})
	return log, func(act string) {
		t.Helper()
		if _, err := b.Get(context.Background(), []byte("!call:"+act)); !errors.Is(err, storage.ErrNotFound) {
			t.Fatalf("%s: %v", act, err)
		}
	}
}

// What a guest logs and prints is in the host's log, under the plugin's name, and
// it cannot pass for another.
func TestLog(t *testing.T) {
	log, do := talking(t, nil)
	do("say")
	log.expect(t, `INFO compacted plugin=acme tables=3 took=map[ms:9007199254740993]`)
	do("speak")
	log.expect(t,
		`DEBUG at debug plugin=acme`,
		`WARN  plugin=acme no=message`,
		"ERROR not \uFFFD UTF-8 plugin=acme",
		`ERROR ["no", "object"] plugin=acme`,
		`ERROR  plugin=acme`,
		`ERROR at a level that there is not plugin=acme`,
		`DEBUG at another plugin=acme`)
	do("prints")
	log.expect(t,
		`INFO first plugin=acme`,
		`WARN bad plugin=acme`,
		`WARN  plugin=acme`,
		`INFO second plugin=acme`)
	do("log_beyond")
	log.expect(t,
		`ERROR a log record outside of the guest's memory plugin=acme`,
		`ERROR a log record outside of the guest's memory plugin=acme`)
	do("log_long")
	if lines := log.take(); len(lines) != 1 || len(lines[0]) > 3*16<<10+100 { // each byte may become a replacement character
		t.Errorf("%d lines of a record of 1 MiB", len(lines))
	}
}

// No call drowns the log.
func TestLogFloods(t *testing.T) {
	log, do := talking(t, nil)
	for act, line := range map[string]string{"flood": `INFO again plugin=acme`, "flood_lines": `WARN again plugin=acme`} {
		for range 2 { // each call anew
			do(act)
			want := append(slices.Repeat([]string{line}, 100), `WARN the plugin logs too much in one call; the rest is dropped plugin=acme limit=100`)
			log.expect(t, want...)
		}
	}
	do("vectors")
	if lines := log.take(); len(lines) > 101 {
		t.Errorf("%d lines", len(lines))
	}
	do("say") // and after it, all is as before
	if lines := log.take(); len(lines) != 1 {
		t.Errorf("%q", lines)
	}
}

// Nor do many calls: what a plugin logs in a second is bounded, and what was dropped is
// reported.
func TestLogRate(t *testing.T) {
	log, do := talking(t, nil)
	start := time.Now()
	for range 50 { // 5,000 records
		do("flood")
	}
	most := supervise.LogRecords * (2 + int(time.Since(start)/time.Second))
	lines := log.take()
	if len(lines) > most {
		t.Errorf("%d lines", len(lines))
	}
	const dropped = "WARN the plugin logs too much: records were dropped plugin=acme records="
	said := func(line string) bool { return strings.Contains(line, dropped) } // already, if the 5,000 took more than a second
	for deadline := time.Now().Add(10 * time.Second); !slices.ContainsFunc(lines, said); lines = log.take() {
		if time.Now().After(deadline) {
			t.Fatalf("nothing says that records were dropped: %q", lines)
		}
		time.Sleep(50 * time.Millisecond)
		do("say")
	}
}

// The environment is what was granted. There are no arguments, and no files.
func TestGrants(t *testing.T) {
	t.Setenv("PLINTH_TEST_SECRET", "of the host")
	log, do := talking(t, nil)
	do("env")
	log.expect(t)
	do("files")
	log.expect(t, `INFO looked plugin=acme`)

	log, do = talking(t, map[string]string{"A": "1", "B": "with = and spaces", "EMPTY": ""})
	do("env")
	got := log.take()
	slices.Sort(got)
	if want := []string{"INFO A=1 plugin=acme", "INFO B=with = and spaces plugin=acme", "INFO EMPTY= plugin=acme"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
