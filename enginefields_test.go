package plinth_test

import (
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Every setting of an engine is read by its code, not only judged: one that is validated,
// documented and then forgotten does nothing. What a setting does is for the engine's own
// tests.
func TestNoSettingOfAnEngineIsForgotten(t *testing.T) {
	engines, err := filepath.Glob("plugins/*/config.go")
	if err != nil || len(engines) < 3 {
		t.Fatalf("%v, %v", engines, err)
	}
	for _, file := range engines {
		dir := filepath.Dir(file)
		t.Run(dir, func(t *testing.T) {
			fields, used := settings(t, dir)
			if len(fields) == 0 {
				t.Fatal("there is no Config")
			}
			for field, name := range fields {
				if !used[field] {
					t.Errorf("%s is not read outside of Validate and DefaultConfig", name)
				}
			}
		})
	}
}

// The functions that say nothing about what a setting does.
var judges = []string{"Validate", "DefaultConfig", "validate", "check"}

// settings are the exported fields of a package's Config and of what it holds, and those
// that its functions read.
func settings(t *testing.T, dir string) (fields map[*types.Var]string, used map[*types.Var]bool) {
	t.Helper()
	fset := token.NewFileSet()
	var files []*ast.File
	names := goList(t, "", "-f", `{{range .GoFiles}}{{.}} {{end}}`, "./"+dir)
	for _, name := range strings.Fields(names[0]) {
		f, err := parser.ParseFile(fset, filepath.Join(dir, name), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	pkg, err := (&types.Config{Importer: exported(t, fset, dir)}).Check(self+"/"+dir, fset, files, info)
	if err != nil {
		t.Fatal(err)
	}
	fields = map[*types.Var]string{}
	if config := pkg.Scope().Lookup("Config"); config != nil {
		gather(pkg, config.Type(), "", fields)
	}
	used = map[*types.Var]bool{}
	for _, f := range files {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Body != nil && !slices.Contains(judges, fn.Name.Name) {
				reads(fn, info, used)
			}
		}
	}
	return fields, used
}

// reads marks the fields that a function reads: what it names but for what it sets.
func reads(fn *ast.FuncDecl, info *types.Info, used map[*types.Var]bool) {
	set := map[*ast.Ident]bool{}
	ast.Inspect(fn, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.KeyValueExpr:
			if id, ok := n.Key.(*ast.Ident); ok {
				set[id] = true
			}
		case *ast.AssignStmt:
			for _, left := range n.Lhs {
				if sel, ok := left.(*ast.SelectorExpr); ok {
					set[sel.Sel] = true
				}
			}
		case *ast.Ident:
			if field, ok := info.Uses[n].(*types.Var); ok && field.IsField() && !set[n] {
				used[field] = true
			}
		}
		return true
	})
}

// gather are the exported fields of a struct and of the structs of its package in it.
func gather(pkg *types.Package, of types.Type, path string, fields map[*types.Var]string) {
	s, ok := of.Underlying().(*types.Struct)
	if !ok {
		return
	}
	for f := range s.Fields() {
		if !f.Exported() {
			continue
		}
		name := strings.TrimPrefix(path+"."+f.Name(), ".")
		if named, ok := f.Type().(*types.Named); ok && named.Obj().Pkg() == pkg {
			if _, nested := named.Underlying().(*types.Struct); nested {
				gather(pkg, named, name, fields)
				continue
			}
		}
		fields[f] = name
	}
}

// exported imports what the compiler has written of the packages that a package stands on.
func exported(t *testing.T, fset *token.FileSet, dir string) types.Importer {
	t.Helper()
	files := map[string]string{}
	for _, line := range goList(t, "", "-export", "-deps", "-f", "{{.ImportPath}}\t{{.Export}}", "./"+dir) {
		name, file, _ := strings.Cut(line, "\t")
		files[name] = file
	}
	return importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		file, ok := files[path]
		if !ok || file == "" {
			return nil, fmt.Errorf("%s is not built", path)
		}
		return os.Open(file)
	})
}
