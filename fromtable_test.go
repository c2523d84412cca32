package plinth_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// docs/from-inferadb.md names nothing that is not there: its symbols are exported, and each of
// its tests is in the file that it links to.
func TestNamesOfTheTable(t *testing.T) {
	page, err := os.ReadFile("docs/from-inferadb.md")
	if err != nil {
		t.Fatal(err)
	}
	known, rows := map[string]map[string]bool{}, 0
	link := regexp.MustCompile("\\[`([^`]*)`\\]\\(\\.\\./([^)]*)\\)")
	name := regexp.MustCompile("`([a-z/]+)\\.([A-Z][A-Za-z0-9]*(?:\\.[A-Z][A-Za-z0-9]*)?)`")
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(line, " | ")
		if len(cells) != 4 || strings.HasPrefix(line, "| ---") || strings.HasPrefix(line, "| the crate") {
			continue
		}
		rows++
		linked := map[string]string{}
		for _, m := range link.FindAllStringSubmatch(cells[3], -1) {
			linked["`"+m[1]+"`"] = m[2]
		}
		for column, cell := range cells[1:] {
			found := name.FindAllStringSubmatch(cell, -1)
			if column == 2 && len(found) == 0 && !strings.Contains(cells[1], "none") {
				t.Errorf("no test shows %s", cells[0])
			}
			for _, m := range found {
				if known[m[1]] == nil {
					known[m[1]] = declared(t, m[1])
				}
				if isTest := strings.HasPrefix(m[2], "Test"); !known[m[1]][m[2]] || isTest != (column == 2) {
					t.Errorf("%s: there is no %s, or it is in the wrong column", cells[0], m[0])
				}
				if file := linked[m[0]]; column == 2 && (path.Dir(file) != m[1] || !declares(t, file, m[2])) {
					t.Errorf("%s: %s must link to its file, not to %q", cells[0], m[0], file)
				}
			}
		}
	}
	if rows < 45 {
		t.Errorf("only %d rows are left", rows)
	}
}

// declared are the exported names of a package, methods as Type.Method, and its tests.
func declared(t *testing.T, dir string) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Error(err)
	}
	for _, f := range files {
		if strings.HasSuffix(f.Name(), ".go") {
			for _, name := range namesIn(t, path.Join(dir, f.Name())) {
				names[name] = true
			}
		}
	}
	return names
}

// declares reports whether a file declares a name.
func declares(t *testing.T, file, name string) bool {
	t.Helper()
	return slices.Contains(namesIn(t, file), name)
}

// namesIn are the names that a file declares.
func namesIn(t *testing.T, name string) (names []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Error(err)
		return nil
	}
	for _, d := range file.Decls {
		names = append(names, namesOf(d)...)
	}
	return names
}

func namesOf(d ast.Decl) (names []string) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			return []string{d.Name.Name}
		}
		of := d.Recv.List[0].Type
		if star, ok := of.(*ast.StarExpr); ok {
			of = star.X
		}
		if id, ok := of.(*ast.Ident); ok {
			return []string{id.Name + "." + d.Name.Name}
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				names = append(names, s.Name.Name)
			case *ast.ValueSpec:
				for _, id := range s.Names {
					names = append(names, id.Name)
				}
			}
		}
	}
	return names
}
