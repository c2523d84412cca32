//go:build unix

package etcd

import (
	"os"
	"testing"
)

// TestMain is the plugin where it is told so.
func TestMain(m *testing.M) {
	servePlugin()
	os.Exit(m.Run())
}
