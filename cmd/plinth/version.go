package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/plinthkv/plinth/abi"
)

type versionCmd struct {
	JSON bool `name:"json" help:"Print a JSON object, with details of the build."`
}

func (v *versionCmd) Run(e env) error {
	if !v.JSON {
		_, err := fmt.Fprintln(e.stdout, versionLine())
		return err
	}
	built := map[string]any{"version": version(), "abi": fmt.Sprintf("%d.%d", abi.Version, abi.Minor), "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if name, of := strings.CutPrefix(s.Key, "vcs."); of {
				built[name] = s.Value
			}
		}
	}
	if revision != "" {
		built["revision"] = revision
	}
	return json.NewEncoder(e.stdout).Encode(built)
}

// versionLine returns what the program says of itself.
func versionLine() string {
	return fmt.Sprintf("plinth %s, ABI %d.%d", version(), abi.Version, abi.Minor)
}

// What tools/release builds says of itself; empty otherwise.
var released, revision string

// version returns the version of the release, or of the module that the program was built
// from.
func version() string {
	if released != "" {
		return released
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}
