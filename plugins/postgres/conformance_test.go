package postgres

import (
	"context"
	"encoding/json"
	"log/slog"
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

// The whole kit, with restarts, of a store that keeps its changes. Without prepared statements it runs below the default pipeline:
// see TestDefaultPipelineConformanceOnPostgreSQL.
func TestConformance(t *testing.T) {
	t.Parallel()
	s, clock := server(t), storagetest.NewClock()
	var tables ring
	var table string
	start := func(ctx context.Context) (storage.Backend, error) {
		return Open(ctx, sdk.Env{Now: clock.Now, Log: silent, Config: configOf(s, table, "changes", "true")})
	}
	storagetest.Run(t, storagetest.Factory{Clock: clock, Reopen: start, Open: func(ctx context.Context) (_ storage.Backend, err error) {
		if table, err = tables.empty(ctx, s); err != nil {
			return nil, err
		}
		return start(ctx)
	}}, storagetest.Except("changes/expiry", "what has expired is collected 10 s later: another host's clock may be behind"))
}
