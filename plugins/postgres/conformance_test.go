package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"testing"

	"github.com/plinthkv/plinth/internal/pgtest"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

var silent = slog.New(slog.DiscardHandler)

// configOf is a configuration of a table, with changes.
func configOf(s *pgtest.Server, table string, more ...string) json.RawMessage {
	c := map[string]any{"dsn": s.DSN("postgres"), "table": table, "create": true, "connections": 8}
	for i := 0; i < len(more); i += 2 {
		var v any
		if json.Unmarshal([]byte(more[i+1]), &v) != nil {
			v = more[i+1]
		}
		c[more[i]] = v
	}
	b, err := json.Marshal(c)
	if err != nil {
		panic(err) // texts and numbers
	}
	return b
}

// The whole kit, with restarts, and with backends that are left as a crash leaves them.
func TestConformance(t *testing.T) {
	for _, prepared := range []string{preparedOn, preparedOff} {
		t.Run("prepared "+prepared, func(t *testing.T) {
			if prepared == preparedOff && testing.Short() {
				t.Skip("the same statements, sent in another way: they run without -short")
			}
			t.Parallel()
			s, clock := server(t), storagetest.NewClock()
			var table string
			start := func(ctx context.Context) (storage.Backend, error) {
				log := silent
				if os.Getenv("PLINTH_LOG") != "" {
					log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
				}
				return Open(ctx, sdk.Env{Now: clock.Now, Log: log, Config: configOf(s, table, "prepared", fmt.Sprintf("%q", prepared))})
			}
			storagetest.Run(t, storagetest.Factory{Clock: clock, Reopen: start, Open: func(ctx context.Context) (storage.Backend, error) {
				table = reusedTable()
				if err := s.Empty(ctx, table); err != nil {
					return nil, err
				}
				return start(ctx)
			}})
		})
	}
}
