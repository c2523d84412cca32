package main

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// fake is a served store that sends all its keys, whatever a scan asks, and then nothing if it
// hangs; it takes no writes.
type fake struct {
	served
	keys  []string
	hangs bool
}

func (f fake) scan(ctx context.Context, _ scanQuery, each func(line) error) error {
	for _, key := range f.keys {
		if err := each(line{key: []byte(key)}); err != nil {
			return err
		}
	}
	if !f.hangs {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

func (f fake) load(ctx context.Context, _ []storage.Op) error {
	<-ctx.Done()
	return ctx.Err()
}

// A server that sends the same again and again, or nothing any more, ends the work.
func TestPagesEnd(t *testing.T) {
	all := fake{keys: make([]string, setOps)}
	for i := range all.keys {
		all.keys[i] = strings.Repeat("k", i)
	}
	n := 0
	for _, err := range pages(t.Context(), all, bounds{}, nil) {
		if n++; err != nil {
			if n != setOps+1 || !strings.Contains(err.Error(), "does not advance") {
				t.Errorf("%d: %v", n, err)
			}
			break
		}
		if n > setOps {
			t.Fatal("it goes on")
		}
	}
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		_, _, err := onePage(t.Context(), fake{keys: []string{"a"}, hangs: true}, bounds{})
		if err == nil || !strings.Contains(err.Error(), "nothing for 2m0s") || time.Since(start) != scanSilence {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		// A write ends too, and not by a signal: one that is under way may be done.
		ctx, end := context.WithCancel(t.Context())
		end()
		start = time.Now()
		err = sink{to: fake{}, settled: func(_ []storage.Op, err error) error { return err }}.store(ctx, []storage.Op{storage.Delete(nil)})
		if err == nil || time.Since(start) != setTime {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}
