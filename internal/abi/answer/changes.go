package answer

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/storage"
)

// Changes reports whether a page of changes is one of q: known kinds, keys of the range, and
// versions that go up from q.After to the page's Next.
func Changes(q *storage.ChangeQuery, p *storage.ChangePage) error {
	if q.FromNow {
		if len(p.Changes) > 0 {
			return errors.New("changes where only the current version was asked for")
		}
		return nil
	}
	if p.Next < q.After {
		return fmt.Errorf("it would go back from version %d to %d", q.After, p.Next)
	}
	last := q.After
	for i := range p.Changes {
		c := &p.Changes[i]
		switch {
		case c.Kind < storage.ChangePut || c.Kind > storage.ChangeExpired:
			return fmt.Errorf("a change of the unknown kind %d", c.Kind)
		case c.Version < last || c.Version == q.After || c.Version > p.Next:
			return fmt.Errorf("a change at version %d between %d and %d", c.Version, last, p.Next)
		case c.Kind == storage.ChangeDeleteRange && !within(q, c), c.Kind != storage.ChangeDeleteRange && !storage.InRange(c.Key, q.Start, q.End):
			return errors.New("a change outside of the range")
		}
		last = c.Version
	}
	return nil
}

// within reports whether a delete range is within the range of q.
func within(q *storage.ChangeQuery, c *storage.Change) bool {
	return bytes.Compare(c.Key, q.Start) >= 0 && (q.End == nil || c.End != nil && bytes.Compare(c.End, q.End) <= 0)
}

// PresentChanges gives an empty value to puts that have none, and takes from the other
// changes what their kind does not use.
func PresentChanges(changes []storage.Change) {
	for i := range changes {
		c := &changes[i]
		switch {
		case c.Kind == storage.ChangePut && c.Value == nil:
			c.Value = []byte{}
		case c.Kind != storage.ChangePut:
			own := storage.Change{Kind: c.Kind, Key: c.Key, Version: c.Version}
			if c.Kind == storage.ChangeDeleteRange {
				own.End = c.End
			}
			*c = own
			continue
		}
		c.End = nil
	}
}

// ReadChanges reads the answer to a call of changes. They share the bytes of message.
func ReadChanges(message []byte, q *storage.ChangeQuery) (page storage.ChangePage, err error) {
	if err = abi.DecodeChangePage(message, &page); err == nil {
		err = Changes(q, &page)
	}
	if err != nil {
		return storage.ChangePage{}, err
	}
	PresentChanges(page.Changes)
	return page, nil
}
