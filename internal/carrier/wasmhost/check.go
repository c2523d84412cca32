package wasmhost

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/storage"
)

// Signature of an export: parameters, then results.
type signature struct{ params, results []api.ValueType }

var (
	i32, i64 = api.ValueTypeI32, api.ValueTypeI64
	exports  = map[string]signature{
		abi.ExportMarker: {},
		abi.ExportBuffer: {[]api.ValueType{i32}, []api.ValueType{i64}},
		abi.ExportOpen:   {[]api.ValueType{i32}, []api.ValueType{i64}},
		abi.ExportCall:   {[]api.ValueType{i32}, []api.ValueType{i64}},
		abi.ExportClose:  {nil, []api.ValueType{i64}},
	}
	getSignature = signature{[]api.ValueType{i32, i64}, []api.ValueType{i64}}
	logSignature = signature{[]api.ValueType{i32, i32, i32}, nil}
)

// reservedImports will come; a module that needs them is for a later host.
var reservedImports = []string{"next_call"}

// check looks at what the compiled module exports and imports.
func (m *Module) check(wasi map[string]api.FunctionDefinition) error {
	have := m.compiled.ExportedFunctions()
	if err := checkMarker(have); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(exports)) {
		def, ok := have[name]
		if !ok {
			return storage.Errorf(storage.InvalidArgument, "the module does not export %s", name)
		}
		if err := exports[name].matches("export", name, def); err != nil {
			return err
		}
	}
	if get, ok := have[abi.ExportGet]; ok {
		m.hasGet = true
		if err := getSignature.matches("export", abi.ExportGet, get); err != nil {
			return err
		}
	}
	if init, ok := have["_initialize"]; ok {
		if err := (signature{}).matches("export", "_initialize", init); err != nil {
			return err
		}
	}
	if len(m.compiled.ImportedMemories()) > 0 {
		return storage.Errorf(storage.InvalidArgument, "the module imports a memory; it must export its own")
	}
	if _, ok := m.compiled.ExportedMemories()["memory"]; !ok {
		return storage.Errorf(storage.InvalidArgument, "the module does not export its memory")
	}
	return m.checkImports(wasi)
}

func checkMarker(have map[string]api.FunctionDefinition) error {
	if _, ok := have[abi.ExportMarker]; ok {
		return nil
	}
	for name := range have {
		if version, ok := strings.CutPrefix(name, "plinth_abi_"); ok {
			return storage.Errorf(storage.InvalidArgument, "the module speaks ABI %.20q, this host speaks v%d", version, abi.Version)
		}
	}
	hint := ""
	if _, ok := have["_start"]; ok {
		hint = "; it is a command: build Go plugins with -buildmode=c-shared"
	}
	return storage.Errorf(storage.InvalidArgument, "not a Plinth plugin: the module does not export %s%s", abi.ExportMarker, hint)
}

// checkImports allows what a guest without files and network can use, and no
// more: everything else is refused by name. wasi has the functions of WASI.
func (m *Module) checkImports(wasi map[string]api.FunctionDefinition) error {
	for _, def := range m.compiled.ImportedFunctions() {
		module, name, _ := def.Import()
		switch {
		case module == abi.HostModule && name == abi.ImportLog:
			if err := logSignature.matches("import", name, def); err != nil {
				return err
			}
		case module == abi.HostModule && slices.Contains(reservedImports, name):
			return storage.Errorf(storage.InvalidArgument, "the module imports %s.%s, which this version does not provide", module, name)
		case module == wasi_snapshot_preview1.ModuleName && !strings.HasPrefix(name, "sock_") && wasi[name] != nil:
			want := signature{wasi[name].ParamTypes(), wasi[name].ResultTypes()}
			if err := want.matches("import", name, def); err != nil {
				return err
			}
		default:
			return storage.Errorf(storage.InvalidArgument, "the module imports %.60q.%.60q, which is not supported: only %s.%s and %s without sockets are",
				module, name, abi.HostModule, abi.ImportLog, wasi_snapshot_preview1.ModuleName)
		}
	}
	return nil
}

func (s signature) matches(what, name string, def api.FunctionDefinition) error {
	if slices.Equal(s.params, def.ParamTypes()) && slices.Equal(s.results, def.ResultTypes()) {
		return nil
	}
	return storage.Errorf(storage.InvalidArgument, "the %s %s is %s, it must be %s", what, name,
		signature{def.ParamTypes(), def.ResultTypes()}, s)
}

func (s signature) String() string {
	names := func(types []api.ValueType) string {
		n := make([]string, len(types))
		for i, t := range types {
			n[i] = api.ValueTypeName(t)
		}
		return strings.Join(n, ", ")
	}
	return fmt.Sprintf("(%s) → (%s)", names(s.params), names(s.results))
}
