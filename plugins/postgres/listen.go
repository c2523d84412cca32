package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// How often the table is looked at where the server cannot say that there are changes, and
// where it can: it may be that a message is lost.
const (
	pollEach     = 250 * time.Millisecond
	pollToo      = 5 * time.Second
	listenAgain  = 5 * time.Second // after a connection broke
	newsChannels = "plinth_"       // then the number of the table of the lock
)

// listen reports when there may be changes, until stop is called: when the server
// notifies a connection of its own. Behind a pooler there is no such connection, and a
// standby sends nothing: then it reports at intervals.
func (b *Backend) listen(ctx context.Context) (news <-chan struct{}, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	told, done := make(chan struct{}, 1), make(chan struct{})
	tell := func() {
		select {
		case told <- struct{}{}:
		default:
		}
	}
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if b.config.Prepared == preparedOn && b.config.Replica == "" {
				if err := b.hear(ctx, tell); err != nil && ctx.Err() == nil {
					b.log.Debug("changes are looked for now and then: the server does not tell of them", "error", failed(err))
				}
			}
			polls(ctx, tell)
		}
	}()
	return told, func() { cancel(); <-done }
}

// polls calls tell at intervals, for a while.
func polls(ctx context.Context, tell func()) {
	ticker := time.NewTicker(pollEach)
	defer ticker.Stop()
	for end := time.Now().Add(listenAgain); time.Now().Before(end); tell() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// hear calls tell for each notification of a connection, until it breaks.
func (b *Backend) hear(ctx context.Context, tell func()) error {
	config := b.lanes.pools[0].Config().ConnConfig
	connecting, cancel := context.WithTimeout(ctx, time.Duration(b.config.Timeouts.Connect))
	defer cancel()
	conn, err := pgx.ConnectConfig(connecting, config)
	if err != nil {
		return err
	}
	defer func() {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(ending) // nothing was written
	}()
	var number uint32
	if err := conn.QueryRow(connecting, b.tables.fill(`select '{lock}'::regclass::oid`)[0]).Scan(&number); err != nil {
		return err
	}
	if _, err := conn.Exec(connecting, fmt.Sprintf(`listen "%s%d"`, newsChannels, number)); err != nil {
		return err
	}
	for {
		tell() // also of what came before it listened
		waiting, cancel := context.WithTimeout(ctx, pollToo)
		_, err := conn.WaitForNotification(waiting)
		over := waiting.Err() != nil
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil && (!over || conn.IsClosed()) {
			return err
		}
	}
}
