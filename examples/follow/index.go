package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strconv"

	"github.com/plinthkv/plinth/storage"
)

// Index holds the users of each city. Each page of changes goes into it in one write set,
// together with the version up to which it goes: whenever the program is killed, both are of
// the same moment, and the next start continues there.
type Index struct {
	Users *storage.Store // user/NAME: {"city": CITY}
	Index *storage.Store
	Log   func(format string, args ...any)
}

// The keys of the index.
var (
	position = []byte("position") // the version up to which the index goes
	byCity   = []byte("city/")    // city/CITY/NAME: nothing
	byName   = []byte("name/")    // name/NAME: CITY, to find the entry that a change removes
)

// The users are what begins with this.
var (
	users    = []byte("user/")
	usersEnd = storage.PrefixEnd(users)
)

// Follow keeps the index up to date until ctx ends.
func (i *Index) Follow(ctx context.Context) error {
	for {
		err := i.follow(ctx)
		if !errors.Is(err, storage.ErrVersionGone) {
			return err
		}
		i.Log("the changes since the last start are no longer kept: reading all users again")
		if _, err := i.Index.ClearRange(ctx, nil, nil); err != nil {
			return err
		}
	}
}

func (i *Index) follow(ctx context.Context) error {
	options := storage.ChangesOptions{FromScan: true}
	saved, err := i.Index.Get(ctx, position)
	switch {
	case errors.Is(err, storage.ErrNotFound): // what an earlier scan left, which did not come to its end
		if _, err := i.Index.ClearRange(ctx, nil, nil); err != nil {
			return err
		}
		i.Log("reading all users")
	case err != nil:
		return err
	default:
		version, err := strconv.ParseUint(string(saved), 10, 64)
		if err != nil {
			return err
		}
		options = storage.ChangesOptions{After: version}
		i.Log("continuing after version %d", version)
	}
	follower := i.Users.Changes(users, usersEnd, options)
	for {
		page, err := follower.Page(ctx)
		if err != nil {
			return err
		}
		version, resumable := follower.Version()
		if err := i.apply(ctx, page.Changes, version, resumable); err != nil {
			return err
		}
	}
}

// apply writes what a page of changes does to the index.
func (i *Index) apply(ctx context.Context, changes []storage.Change, version uint64, resumable bool) error {
	return i.Index.Update(ctx, func(tx *storage.Txn) error {
		for _, c := range changes {
			if err := i.change(ctx, tx, c); err != nil {
				return err
			}
		}
		if !resumable {
			return nil
		}
		return tx.Set(ctx, position, strconv.AppendUint(nil, version, 10))
	})
}

func (i *Index) change(ctx context.Context, tx *storage.Txn, c storage.Change) error {
	if c.Kind != storage.ChangeDeleteRange {
		name := bytes.TrimPrefix(c.Key, users)
		if err := i.remove(ctx, tx, name); err != nil || c.Kind != storage.ChangePut {
			return err
		}
		return i.add(ctx, tx, name, c.Value)
	}
	start, end := indexed(c.Key), storage.PrefixEnd(byName)
	if bytes.HasPrefix(c.End, users) {
		end = indexed(c.End)
	}
	var names [][]byte
	for it, err := range tx.Range(ctx, start, end, storage.RangeOptions{}) {
		if err != nil {
			return err
		}
		names = append(names, bytes.TrimPrefix(it.Key, byName))
	}
	for _, name := range names {
		if err := i.remove(ctx, tx, name); err != nil {
			return err
		}
	}
	return nil
}

// indexed returns the key in the index of the user with a key.
func indexed(key []byte) []byte {
	return append(bytes.Clone(byName), bytes.TrimPrefix(key, users)...)
}

func (i *Index) add(ctx context.Context, tx *storage.Txn, name, value []byte) error {
	var user struct {
		City string `json:"city"`
	}
	if json.Unmarshal(value, &user) != nil || user.City == "" {
		return nil // a user whose city is not known is not in the index
	}
	i.Log("%s is in %s", name, user.City)
	return errors.Join(tx.Set(ctx, append(bytes.Clone(byName), name...), []byte(user.City)), tx.Set(ctx, entry(user.City, name), nil))
}

func (i *Index) remove(ctx context.Context, tx *storage.Txn, name []byte) error {
	at := append(bytes.Clone(byName), name...)
	city, err := tx.Get(ctx, at)
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(tx.Delete(ctx, at), tx.Delete(ctx, entry(string(city), name)))
}

func entry(city string, name []byte) []byte {
	return append(append(append(bytes.Clone(byCity), city...), '/'), name...)
}
