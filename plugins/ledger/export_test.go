package ledger

import "time"

// LookAgain looks the nodes up as the passing of time does.
func (b *Backend) LookAgain() { b.lookAgain() }

// ForgetLeader has what was said of the leader count no longer.
func (b *Backend) ForgetLeader() {
	b.leaders.mu.Lock()
	defer b.leaders.mu.Unlock()
	b.leaders.fresh, b.leaders.notBefore = time.Time{}, time.Time{}
}

// Quickly is t without the patience that clusters with clocks of their own need.
func (t Trial) Quickly() Trial {
	t.ttl, t.slack = time.Second, 1200*time.Millisecond
	return t
}
