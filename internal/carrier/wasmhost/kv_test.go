package wasmhost_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/plinthkv/plinth/internal/carrier/wasmhost"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

// A backend of three hundred lines of C, written from abi/SPEC.md, is held to all
// that it claims: the ABI takes no SDK.
func TestConformanceOfC(t *testing.T) {
	for _, trusted := range []bool{false, true} {
		t.Run(fmt.Sprintf("trusted=%t", trusted), func(t *testing.T) {
			clock := storagetest.NewClock()
			o := wasmhost.Options{Name: "kv", Trusted: trusted, BuiltIn: trusted, Clock: clock.Now}
			if !trusted {
				o.Call = time.Minute
			}
			m := load(t, warmRuntime(t), committed(t, "kv"), o)
			storagetest.Run(t, storagetest.Factory{Clock: clock, Open: func(ctx context.Context) (storage.Backend, error) {
				return m.Open(ctx, nil)
			}})
		})
	}
}

// The committed modules are what their sources build, to the byte.
func TestGuestsHaveNotDrifted(t *testing.T) {
	recorded, err := os.ReadFile("testdata/guests/clang-version")
	if err != nil {
		t.Fatal(err)
	}
	version, err := exec.Command("clang", "--version").Output()
	if err != nil || !strings.Contains(string(version), "clang version "+strings.TrimSpace(string(recorded))) {
		t.Skipf("they were built with clang %s, which is not here and whose bytes no other writes", recorded)
	}
	if out, err := exec.Command("../../../tools/build-c-guests.sh", "--check").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
