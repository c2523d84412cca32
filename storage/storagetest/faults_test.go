package storagetest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

var lost = &storage.Error{Code: storage.OutcomeUnknown, Unknown: true}

func faulty(faults ...storagetest.Fault) (*storagetest.Faults, *storagetest.Model) {
	model := storagetest.NewModel(storagetest.NewClock().Now, storagetest.ModelInfo())
	return storagetest.NewFaults(model, faults...), model
}

// Which calls fail, of ten: by number and by operation.
func TestFaultsHappenWhenTheyAreDue(t *testing.T) {
	down := storage.ErrUnavailable
	for _, c := range []struct {
		name   string
		faults []storagetest.Fault
		sets   string // x failed, . went well
		gets   string
	}{
		{"none", nil, "..........", ".........."},
		{"all", []storagetest.Fault{{Err: down}}, "xxxxxxxxxx", "xxxxxxxxxx"},
		{"the third set", []storagetest.Fault{{Calls: []storagetest.Call{storagetest.CallApply}, After: 2, Times: 1, Err: down}}, "..x.......", ".........."},
		{"gets after the fifth", []storagetest.Fault{{Calls: []storagetest.Call{storagetest.CallGet}, After: 5, Err: down}}, "..........", ".....xxxxx"},
		{"calls 3 to 6 of all", []storagetest.Fault{{After: 3, Times: 4, Err: down}}, "..xx......", ".xx......."},
		{"two faults", []storagetest.Fault{
			{Calls: []storagetest.Call{storagetest.CallApply}, Times: 1, Err: down},
			{Calls: []storagetest.Call{storagetest.CallApply, storagetest.CallHealth}, After: 8, Err: lost},
		}, "x.......xx", ".........."},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, _ := faulty(c.faults...)
			var sets, gets []byte
			for range 10 {
				_, err := f.Apply(t.Context(), &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte("k"), nil)}})
				sets = append(sets, mark(err))
				_, err = f.Get(t.Context(), []byte("other"))
				if errors.Is(err, storage.ErrNotFound) {
					err = nil
				}
				gets = append(gets, mark(err))
			}
			if string(sets) != c.sets || string(gets) != c.gets {
				t.Errorf("sets %s, gets %s; want %s and %s", sets, gets, c.sets, c.gets)
			}
			if f.Made(storagetest.CallApply) != 10 || f.Made(storagetest.CallScan) != 0 {
				t.Errorf("%d applies and %d scans were counted", f.Made(storagetest.CallApply), f.Made(storagetest.CallScan))
			}
		})
	}
}

func mark(err error) byte {
	if err != nil {
		return 'x'
	}
	return '.'
}

func TestFaultsAppliedButReportedFailed(t *testing.T) {
	f, model := faulty(storagetest.Fault{Calls: []storagetest.Call{storagetest.CallApply}, Err: lost, Applied: true})
	_, err := f.Apply(t.Context(), &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte("k"), []byte("v"))}})
	if !errors.Is(err, storage.ErrOutcomeUnknown) {
		t.Errorf("Apply: %v", err)
	}
	if it, err := model.Get(t.Context(), []byte("k")); err != nil || string(it.Value) != "v" {
		t.Errorf("below, k is %q, %v", it.Value, err)
	}
	f.Set(storagetest.Fault{Err: storage.ErrUnavailable})
	if _, err := f.Apply(t.Context(), &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte("l"), nil)}}); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Apply: %v", err)
	}
	if _, err := model.Get(t.Context(), []byte("l")); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("a call that failed was made: %v", err)
	}
	if n := f.Failed(storagetest.CallApply); n != 2 {
		t.Errorf("%d failures were counted", n)
	}
}

func TestFaultsLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, model := faulty(storagetest.Fault{Delay: time.Second})
		start := time.Now()
		f.Health(t.Context(), storage.Liveness)
		if took := time.Since(start); took != time.Second {
			t.Errorf("a call took %s", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := f.Scan(ctx, storage.Query{}); storage.CodeOf(err) != storage.Timeout {
			t.Errorf("a call that timed out: %v", err)
		}

		hold := make(chan struct{})
		f.Set(storagetest.Fault{Hold: hold, Late: true})
		go func() { // the result was read before the write
			time.Sleep(time.Minute)
			model.Apply(t.Context(), &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte("k"), nil)}})
			close(hold)
		}()
		if _, err := f.Get(t.Context(), []byte("k")); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("a late answer: %v", err)
		}
	})
}

// A history in which answers are lost, of writes that happened and of some that
// did not, is still that of a store.
func TestHistoryWithLostAnswers(t *testing.T) {
	f, _ := faulty()
	h, err := storagetest.NewHistory(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	c := h.Client()
	put := func(v string) error {
		_, err := c.Apply(t.Context(), &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte("k"), []byte(v))}})
		return err
	}
	for i := range 40 {
		switch i % 10 {
		case 3:
			f.Set(storagetest.Fault{Err: lost, Applied: i%20 == 3})
			if put("lost") == nil {
				t.Error("no answer was lost")
			}
			f.Set()
		case 7:
			put("v")
		default:
			c.Get(t.Context(), []byte("k"))
		}
	}
	if err := h.Check(41, time.Second); !errors.Is(err, storagetest.ErrHistoryInvalid) {
		t.Errorf("40 calls count as 41: %v", err)
	}
	if err := h.Check(1, 10*time.Second); err != nil {
		t.Error(err)
	}
}
