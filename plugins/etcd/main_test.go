//go:build unix

package etcd

import (
	"flag"
	"os"
	"testing"
)

// TestMain is the plugin where it is told so.
func TestMain(m *testing.M) {
	servePlugin()
	flag.Parse()
	_ = flag.Set("test.parallel", "5") // tests wait for servers most of the time
	os.Exit(m.Run())
}
