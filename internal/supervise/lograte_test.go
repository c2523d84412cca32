package supervise_test

import (
	"testing"
	"time"

	"github.com/plinthkv/plinth/internal/supervise"
)

// A plugin has so many records and bytes in a second, also where the clock is set back,
// and each one that is dropped is reported once.
func TestLogRate(t *testing.T) {
	for name, c := range map[string]struct{ size, asked, want int }{
		"records": {10, 5000, supervise.LogRecords}, "bytes": {100 << 10, 100, supervise.LogBytes / (100 << 10)}, "one that is large": {2 << 20, 3, 1},
	} {
		var r supervise.LogRate
		now := time.Unix(1000, 0)
		told := int64(0)
		second := func() (logged int) {
			for range c.asked {
				ok, dropped := r.Room(now, c.size)
				if ok {
					logged++
				}
				told += dropped
			}
			return logged
		}
		for _, step := range []time.Duration{0, time.Second, -time.Hour} {
			now = now.Add(step)
			if n := second(); n != c.want {
				t.Errorf("%s: %d in a second, want %d", name, n, c.want)
			}
		}
		r.Drop()
		if want := int64(3*(c.asked-c.want) + 1); r.Dropped() != want || told != int64(2*(c.asked-c.want)) {
			t.Errorf("%s: %d dropped, %d told of, want %d", name, r.Dropped(), told, want)
		}
		now = now.Add(time.Second)
		if _, dropped := r.Room(now, 1); dropped != int64(c.asked-c.want) {
			t.Errorf("%s: %d told of in the end", name, dropped)
		}
	}
}
