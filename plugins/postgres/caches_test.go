package postgres

import (
	"testing"
	"time"

	"github.com/plinthkv/plinth/internal/cachetest"
)

// The caches of two hosts over one table see each other's writes within the bound, also
// while their followers are held up and cut off.
func TestCachesOfTwoHosts(t *testing.T) {
	t.Parallel()
	s, changes := server(t), []string{"changes", "true"}
	cachetest.Run(t, opened(t, s, "caches", changes...), opened(t, s, "caches", changes...), 300*time.Millisecond, 5*time.Second)
	delays := cachetest.Delays(t, opened(t, s, "delays", changes...), opened(t, s, "delays", changes...), 50)
	t.Logf("what another host writes is seen after %s, p99 %s", delays[25], delays[49])
}
