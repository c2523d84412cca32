package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// errEnough ends a scan whose page is full.
var errEnough = errors.New("enough")

// pages returns the items of a range beyond a key, page by page; all of them if the key is nil.
// Nothing is held on the server while the loop's body runs, however long it takes. Each page is
// one state of the store.
func pages(ctx context.Context, s served, b bounds, after []byte) iter.Seq2[storage.Op, error] {
	return func(yield func(storage.Op, error) bool) {
		for {
			page, more, err := onePage(ctx, s, rest(b, after))
			if waited(ctx, err) {
				more, err = true, nil
			}
			if err != nil {
				yield(storage.Op{}, err)
				return
			}
			for _, op := range page {
				if after != nil && bytes.Compare(op.Key, after) <= 0 {
					yield(storage.Op{}, errors.New("the server's scan does not advance"))
					return
				}
				if !yield(op, nil) {
					return
				}
				after = op.Key
			}
			if !more {
				return
			}
		}
	}
}

// rest returns b without the keys up to after.
func rest(b bounds, after []byte) bounds {
	if after != nil {
		start := string(storage.After(after))
		b.Start = &start
	}
	return b
}

// onePage reads as much as goes into one write set.
func onePage(ctx context.Context, s served, b bounds) (page []storage.Op, more bool, err error) {
	size := 0
	err = scanWithin(ctx, scanSilence, s, scanQuery{bounds: b, limit: setOps}, func(l line) error {
		op, err := l.op()
		if err != nil {
			return err
		}
		page = append(page, op)
		if size += len(op.Key) + len(op.Value); size >= setBytes {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		return page, true, nil
	}
	return page, len(page) >= setOps, err
}

// scanSilence limits how long a server may take for the next item of a scan.
const scanSilence = 2 * time.Minute

// scanWithin runs a scan that ends where the server takes too long for an item.
func scanWithin(ctx context.Context, silence time.Duration, s served, q scanQuery, each func(line) error) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	silent := fmt.Errorf("the server sent nothing for %s", silence)
	timer := time.AfterFunc(silence, func() { end(silent) })
	defer timer.Stop()
	err := s.scan(ctx, q, func(l line) error {
		timer.Stop() // what each does takes as long as it takes
		defer timer.Reset(silence)
		return each(l)
	})
	if err != nil && context.Cause(ctx) == silent {
		return silent
	}
	return err
}
