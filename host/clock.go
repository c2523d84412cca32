package host

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/plinthkv/plinth/internal/carrier"
	"github.com/plinthkv/plinth/internal/clock"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// newClock returns the host's clock, which logs each step of what it follows until stop is
// called.
func newClock(source func() time.Time, log *slog.Logger) (_ *clock.Clock, stop func()) {
	c := clock.New(source)
	return c, c.Notify(func(s clock.Step) {
		if s.By < 0 {
			log.Warn("the system clock was set back; the host's clock goes on more slowly until they meet", "by", -s.By, "at", s.At)
			return
		}
		log.Warn("the system clock was set ahead, or the machine slept; items expire by it", "by", s.By, "at", s.At)
	})
}

// stepShown is how long a step ahead shows in health.
const stepShown = 10 * time.Minute

// clockWorry returns what is wrong with the clock, for health.
func (h *Host) clockWorry() string {
	if ahead := h.clock.Ahead(); ahead > 0 {
		return fmt.Sprintf("the system clock was set back and is %s behind: items expire up to a seventh later than their TTL until it has caught up", ahead.Round(time.Second))
	}
	if s := h.clock.LastStep(); s.By > 0 && h.clock.Now().Sub(s.At) < stepShown {
		return fmt.Sprintf("the system clock was set ahead by %s at %s: items whose time was over by it have expired", s.By.Round(time.Second), s.At.Format(time.RFC3339))
	}
	return ""
}

// hub returns a hub over a backend of p, whose health knows of the clock.
func (h *Host) hub(b storage.Backend, p *plugin) *wrappers.Hub {
	hub := wrappers.NewHub(b)
	hub.Worry(h.clockWorry)
	if p.Shared() {
		hub.Share()
	}
	if p.keepsChanges() {
		hub.KeepChanges(h.clock.Now)
	}
	return hub
}

// keepsChanges reports whether the hub keeps the changes of p's backends: all writes to
// linked-in backends and to modules of this process pass it. A process may share its store.
func (p *plugin) keepsChanges() bool {
	return !p.Shared() && (p.Kind() == carrier.Native || p.Kind() == carrier.Wasm)
}
