package storagetest

import "github.com/plinthkv/plinth/storage"

func clearChecks() []Check {
	return in("clear_range",
		is("removes_what_is_in_it", 0, func(t *T) {
			t.setAll("00", "01", "02", "03", "04")
			t.clear(bs("01"), bs("04"))
			t.wantKeys(nil, nil, "00", "04")
			t.wantAbsent("01", "02", "03")
		}),
		is("of_nothing", 0, func(t *T) {
			t.clear(bs("a"), bs("z"))
			t.setAll("a", "b", "z")
			t.clear(bs("c"), bs("d"))
			t.wantKeys(nil, nil, "a", "b", "z")
		}),
		is("empty_and_inverted", 0, func(t *T) {
			t.setAll("", "a", "b", "c")
			t.clear(bs("a"), bs("a"))
			t.clear(bs("c"), bs("a"))
			t.clear(nil, []byte{})
			t.clear(bs("b"), []byte{})
			t.wantKeys(nil, nil, "", "a", "b", "c")
		}),
		is("of_everything", 0, func(t *T) {
			t.setAll("", "\x00", "a", "\xff\xff\xff")
			t.clear(nil, nil)
			t.wantKeys(nil, nil)
			t.setAll("a")
			t.clear([]byte{}, nil)
			t.wantKeys(nil, nil)
		}),
		is("of_one_key", 0, func(t *T) {
			t.setAll("b", "c", "c\x00", "d")
			t.clear(bs("c"), storage.After(bs("c")))
			t.wantKeys(nil, nil, "b", "c\x00", "d")
		}),
		is("open_at_one_side", 0, func(t *T) {
			t.setAll("a", "b", "c", "d")
			t.clear(nil, bs("b"))
			t.wantKeys(nil, nil, "b", "c", "d")
			t.clear(bs("d"), nil)
			t.wantKeys(nil, nil, "b", "c")
		}),
		long("of_many_keys", storage.CapAtomic, largeRange),
		is("under_a_check", storage.CapCheckOnly, func(t *T) {
			t.setAll("a", "b", "lock")
			locked := func(by string) []storage.Check {
				return []storage.Check{storage.HasValue(bs("lock"), bs(by))}
			}
			t.wantConflict(0, locked("me"), storage.DeleteRange(bs("a"), bs("c")))
			t.wantKeys(nil, nil, "a", "b", "lock")
			t.must(t.try(locked("lock"), storage.DeleteRange(bs("a"), bs("c"))))
			t.wantKeys(nil, nil, "lock")
		}),
	)
}

func (t *T) clear(start, end []byte) { t.must(errOf(t.s.ClearRange(t.ctx, start, end))) }
