//go:build unix

package etcd

import (
	"testing"
	"time"

	"github.com/plinthkv/plinth/internal/cachetest"
)

// The caches of two hosts over one cluster see each other's writes within the bound, also
// while their followers are held up and cut off.
func TestCachesOfTwoHosts(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	cachetest.Run(t, c.open(t, "caches/"), c.open(t, "caches/"), 300*time.Millisecond, 5*time.Second)
	delays := cachetest.Delays(t, c.open(t, "delays/"), c.open(t, "delays/"), 50)
	t.Logf("what another host writes is seen after %s, p99 %s", delays[25], delays[49])
}
