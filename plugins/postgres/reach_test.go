package postgres

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/plinthkv/plinth/storage"
)

// The driver tries an address with and without TLS. If both fail alike, the error says so once,
// and it has each address that failed.
func TestServersThatCannotBeReached(t *testing.T) {
	for dsn, addresses := range map[string][]string{
		"host=127.0.0.1 port=1 user=u":               {"127.0.0.1:1"},
		"host=127.0.0.1,127.0.0.2 port=1,1 user=u":   {"127.0.0.1:1", "127.0.0.2:1"},
		"host=127.0.0.1 port=1 user=u sslmode=allow": {"127.0.0.1:1"},
	} {
		_, err := pgconn.Connect(t.Context(), dsn)
		err = failed(err)
		if storage.CodeOf(err) != storage.Unavailable || strings.Count(err.Error(), "dial error") != len(addresses) {
			t.Errorf("%s: %v", dsn, err)
		}
		for _, address := range addresses {
			if !strings.Contains(err.Error(), address) {
				t.Errorf("%s: %v does not name %s", dsn, err, address)
			}
		}
	}
}
