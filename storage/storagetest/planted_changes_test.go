package storagetest_test

import (
	"context"
	"slices"
	"time"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

// answered is a fault of the pages of changes.
func answered(f func(storage.ChangeQuery, *storage.ChangePage)) func(*planted, *storagetest.Clock) {
	return func(p *planted, _ *storagetest.Clock) {
		p.changes = func(ctx context.Context, q storage.ChangeQuery) (storage.ChangePage, error) {
			page, err := p.Backend.Changes(ctx, q)
			if err == nil {
				f(q, &page)
			}
			return page, err
		}
	}
}

var changeFaults = []fault{
	{"a torn write set", []string{"changes/write_sets_are_whole"}, answered(func(q storage.ChangeQuery, p *storage.ChangePage) {
		if q.Limit > 0 && len(p.Changes) > q.Limit {
			p.Changes = p.Changes[:q.Limit]
		}
	})},
	{"a gap between pages", []string{"changes/pages_leave_no_gap_and_repeat_nothing", "changes/write_sets_are_whole"}, answered(func(q storage.ChangeQuery, p *storage.ChangePage) {
		if q.Limit == 1 && len(p.Changes) > 0 {
			p.Next++
		}
	})},
	{"a change that is told again", []string{"changes/pages_leave_no_gap_and_repeat_nothing"}, answered(func(q storage.ChangeQuery, p *storage.ChangePage) {
		if len(p.Changes) > 1 {
			p.Next--
		}
	})},
	{"changes without an order", []string{"changes/pages_leave_no_gap_and_repeat_nothing"}, answered(func(_ storage.ChangeQuery, p *storage.ChangePage) { slices.Reverse(p.Changes) })},
	{"a range that is not clipped", []string{"changes/ranges"}, answered(func(_ storage.ChangeQuery, p *storage.ChangePage) {
		for i := range p.Changes {
			if c := &p.Changes[i]; c.Kind == storage.ChangeDeleteRange {
				c.Key, c.End = nil, nil
			}
		}
	})},
	{"keys of others", []string{"changes/ranges", "changes/wait"}, func(p *planted, _ *storagetest.Clock) {
		p.changes = func(ctx context.Context, q storage.ChangeQuery) (storage.ChangePage, error) {
			q.Start, q.End = nil, nil
			return p.Backend.Changes(ctx, q)
		}
	}},
	{"expiries that are not told", []string{"changes/expiry"}, answered(func(_ storage.ChangeQuery, p *storage.ChangePage) {
		p.Changes = slices.DeleteFunc(p.Changes, func(c storage.Change) bool { return c.Kind == storage.ChangeExpired })
	})},
	{"versions that are not there", []string{"changes/versions_that_are_not_there"}, func(p *planted, _ *storagetest.Clock) {
		p.changes = func(ctx context.Context, q storage.ChangeQuery) (storage.ChangePage, error) {
			if now, _ := p.Backend.Changes(ctx, storage.ChangeQuery{FromNow: true}); q.After > now.Next {
				q.After = now.Next
				q.Wait = 0
			}
			return p.Backend.Changes(ctx, q)
		}
	}},
	{"a follower that is not woken", []string{"changes/wait"}, func(p *planted, _ *storagetest.Clock) {
		p.changes = func(ctx context.Context, q storage.ChangeQuery) (storage.ChangePage, error) {
			wait := q.Wait
			q.Wait = 0
			page, err := p.Backend.Changes(ctx, q)
			if err == nil && len(page.Changes) == 0 {
				time.Sleep(min(wait, 100*time.Millisecond))
			}
			return page, err
		}
	}},
	{"values that are left out", []string{"changes/own_writes"}, answered(func(_ storage.ChangeQuery, p *storage.ChangePage) {
		for i := range p.Changes {
			p.Changes[i].Value = []byte{}
		}
	})},
}
