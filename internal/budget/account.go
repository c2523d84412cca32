package budget

import (
	"container/list"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// Account counts the memory of one request and its answer. Only one goroutine may use it
// at a time. Nil counts nothing.
type Account struct {
	b      *Budget
	key    any
	client *client
	held   int64 // the budget's lock guards it while the request arrives

	at      *list.Element // in the budget's arriving
	since   time.Time     // it begins to arrive; without the time that it waited for room
	moved   time.Time     // some of it arrived last
	waits   *waiter       // for room, or nil
	leaving bool          // it is an answer on its way out
	slow    bool
	abandon func()
}

// Identity returns the key of clients with a certificate.
func Identity(c *x509.Certificate) any { return sha256.Sum256(c.Raw) }

// Take adds n bytes, and waits for room for a short time. After that it returns
// Unavailable, with a time to try again. More than any client may have is a SizeLimit.
func (a *Account) Take(ctx context.Context, n int64) error {
	if a == nil || n <= 0 {
		return nil
	}
	if a.held+n > a.b.share {
		return storage.LimitError(storage.SizeLimit, "bytes of one client (server.limits.memory)", a.b.share, a.held+n)
	}
	a.b.mu.Lock()
	if a.b.fits(a.client, n) { // nearly always, and without a look at a clock
		a.held += n
		if a.at != nil {
			a.moved = time.Now()
		}
		a.b.mu.Unlock()
		return nil
	}
	a.b.mu.Unlock()
	start := time.Now()
	err := a.b.take(ctx, a, n)
	a.b.mu.Lock()
	defer a.b.mu.Unlock()
	a.waits = nil
	if err != nil {
		return err
	}
	a.held += n
	a.since, a.moved = a.since.Add(time.Since(start)), time.Now()
	return nil
}

// Resize sets the account to n bytes: less takes effect at once, more as by Take.
func (a *Account) Resize(ctx context.Context, n int64) error {
	if a == nil {
		return nil
	}
	if n > a.held {
		return a.Take(ctx, n-a.held)
	}
	a.b.mu.Lock()
	defer a.b.mu.Unlock()
	less := a.held - n
	a.held = n
	a.b.give(a.client, less)
	return nil
}

// Give returns n bytes to the budget.
func (a *Account) Give(n int64) {
	if a != nil {
		_ = a.Resize(context.Background(), max(a.held-n, 0)) // which needs no room
	}
}

// Held returns the bytes of the account.
func (a *Account) Held() int64 {
	if a == nil {
		return 0
	}
	return a.held
}

// Arrive marks the start of the request's arrival. If others wait for room and it is too
// slow, abandon is called once. abandon must not call the budget, and must stop the
// reader.
func (a *Account) Arrive(abandon func()) {
	if a == nil {
		return
	}
	a.begin(abandon, false)
}

// Leave marks the start of sending an answer. If others wait for room and the caller
// reads none of it, abandon is called, as for [Account.Arrive].
func (a *Account) Leave(abandon func()) {
	if a == nil {
		return
	}
	a.begin(abandon, true)
}

func (a *Account) begin(abandon func(), leaving bool) {
	a.b.mu.Lock()
	defer a.b.mu.Unlock()
	if a.at != nil {
		a.b.arriving.Remove(a.at)
	}
	a.since, a.abandon, a.leaving = time.Now(), abandon, leaving
	a.moved = a.since
	a.at = a.b.arriving.PushBack(a)
}

// Reading says that some has arrived, or was taken, and calls wait, which sets until when
// the next part may come, unless the request has been abandoned.
func (a *Account) Reading(wait func()) {
	if a == nil {
		wait()
		return
	}
	a.b.mu.Lock()
	defer a.b.mu.Unlock()
	if !a.slow {
		a.moved = time.Now()
		wait()
	}
}

// Arrived marks the end of the arrival, successful or not. It returns an error if the
// request was abandoned.
func (a *Account) Arrived() error {
	if a == nil {
		return nil
	}
	a.b.mu.Lock()
	defer a.b.mu.Unlock()
	if a.at != nil {
		a.b.arriving.Remove(a.at)
		a.at = nil
	}
	if !a.slow {
		return nil
	}
	return &storage.Error{Code: storage.Unavailable, RetryAfter: time.Second, Msg: "the request arrived too slowly while others waited for memory; nothing was applied"}
}

// Close returns all bytes to the budget. It is idempotent.
func (a *Account) Close() {
	if a == nil || a.client == nil {
		return
	}
	_ = a.Arrived()
	a.b.mu.Lock()
	defer a.b.mu.Unlock()
	a.b.give(a.client, a.held)
	a.held = 0
	if a.client.accounts--; a.client.accounts == 0 {
		delete(a.b.clients, a.key)
	}
	a.client = nil
}
