//go:build unix

package process

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/plinthkv/plinth/internal/abi/abipb"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// Every method of the service is served, and has a row in the specification.
func TestMethods(t *testing.T) {
	spec, err := os.ReadFile("../../abi/SPEC.md")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{plugin: Plugin{Try: func(context.Context, sdk.Env) (storage.Info, error) { return storage.Info{}, nil }}}
	var served []string
	for _, m := range s.service().Methods {
		served = append(served, m.MethodName)
	}
	methods := abipb.File_plinth_backend_v1_backend_proto.Services().ByName("Backend").Methods()
	for i := range methods.Len() {
		name := string(methods.Get(i).Name())
		if !slices.Contains(served, name) && name != "Follow" { // that is a host's
			t.Errorf("%s is not served", name)
		}
		if !slices.ContainsFunc(strings.Split(string(spec), "\n"), func(line string) bool {
			cells := strings.Split(line, "|")
			return len(cells) > 3 && strings.Contains(cells[2], "`"+name+"`")
		}) {
			t.Errorf("abi/SPEC.md has no row for %s", name)
		}
	}
}
