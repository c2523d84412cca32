package abi_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/plinthkv/plinth/abi"
	pb "github.com/plinthkv/plinth/internal/abi/abipb"
	"github.com/plinthkv/plinth/storage"
)

// SPEC.md is what plugins in other languages are written by. These tests read
// it and compare every number, name and type in it with the code.

func TestSpecNumbers(t *testing.T) {
	tables := specTables(t)
	var codes, caps, ops []string
	for c := storage.OK; c.Known(); c++ {
		codes = append(codes, fmt.Sprintf("%d %s", c, c.Name()))
	}
	for bit, name := range storage.CapNames() {
		caps = append(caps, fmt.Sprintf("%d %s", bit, name))
	}
	for o := abi.Op(1); o.String() != "unknown"; o++ {
		ops = append(ops, fmt.Sprintf("%d %s", o, o))
	}
	tags := []string{
		row(abi.TagNow, "now", 8), row(abi.TagDeadline, "deadline", 8), row(abi.TagTraceparent, "traceparent", "1–255"),
		row(abi.TagTracestate, "tracestate", "1–255"), row(abi.TagBudget, "budget", 4),
	}
	exports := []string{abi.ExportMarker, abi.ExportBuffer, abi.ExportOpen, abi.ExportCall, abi.ExportGet, abi.ExportClose}
	for _, c := range []struct {
		table   string
		columns int
		want    []string
	}{
		{"Codes", 2, codes}, {"Capabilities", 2, caps}, {"Ops", 2, ops}, {"Header", 3, tags}, {"Exports", 1, exports},
	} {
		compareTable(t, c.table, c.columns, tables[c.table], c.want)
	}
	if abi.Op(0).String() != "unknown" || abi.Op(255).String() != "unknown" {
		t.Error("an unknown op has a name")
	}
	if len(tables["Imports"]) != 2 || tables["Imports"][0][0] != abi.HostModule || tables["Imports"][0][1] != abi.ImportLog {
		t.Errorf("imports: %q", tables["Imports"])
	}
	for _, number := range []int{abi.DefaultMaxFrame, abi.MaxElements, abi.MaxDetails, abi.MaxErrorText, lastMillisecond, abi.CodeUseCall} {
		if !strings.Contains(specText(t), strconv.Itoa(number)) {
			t.Errorf("it does not say %d", number)
		}
	}
}

// Messages and enums are those of the schema, whose codec is that of this package.
func TestSpecMessages(t *testing.T) {
	tables := specTables(t)
	file := pb.File_plinth_backend_v1_backend_proto
	var messages []protoreflect.MessageDescriptor
	for i := range file.Messages().Len() {
		m := file.Messages().Get(i)
		messages = append(messages, m)
		for j := range m.Messages().Len() {
			if inner := m.Messages().Get(j); !inner.IsMapEntry() {
				messages = append(messages, inner)
			}
		}
	}
	for _, m := range messages {
		var want []string
		for i := range m.Fields().Len() {
			f := m.Fields().Get(i)
			want = append(want, row(int(f.Number()), string(f.Name()), typeName(f)))
		}
		if len(want) > 0 { // empty ones exist for gRPC only
			name := strings.TrimPrefix(string(m.FullName()), "plinth.backend.v1.")
			compareTable(t, name, 3, tables[name], want)
		}
	}
	for i := range file.Enums().Len() {
		e := file.Enums().Get(i)
		if e.Name() == "Code" {
			continue // Codes, above
		}
		var want []string
		for j := range e.Values().Len() {
			v := e.Values().Get(j)
			name := string(v.Name())
			prefix := strings.ToUpper(strings.ReplaceAll(string(e.Name()), "Kind", "_Kind")) + "_"
			want = append(want, fmt.Sprintf("%d %s", v.Number(), strings.TrimPrefix(name, prefix)))
		}
		compareTable(t, string(e.Name()), 2, tables[string(e.Name())], want)
	}
}

// The numbers of the schema's enums are those of package storage.
func TestSchemaEnums(t *testing.T) {
	for number, name := range pb.Code_name {
		if c := storage.Code(number); !c.Known() || "CODE_"+strings.ToUpper(c.Name()) != name {
			t.Errorf("%s is %d, which is %s in package storage", name, number, c)
		}
	}
	if storage.Code(len(pb.Code_name)).Known() {
		t.Errorf("the schema does not have the code %d", len(pb.Code_name))
	}
	for want, got := range map[int32]int32{
		int32(pb.CheckKind_CHECK_KIND_ABSENT): int32(storage.CheckAbsent), int32(pb.CheckKind_CHECK_KIND_PRESENT): int32(storage.CheckPresent),
		int32(pb.CheckKind_CHECK_KIND_VALUE): int32(storage.CheckValue), int32(pb.CheckKind_CHECK_KIND_VERSION): int32(storage.CheckVersion),
		int32(pb.CheckKind_CHECK_KIND_RANGE): int32(storage.CheckRange),
	} {
		if want != got {
			t.Errorf("check kind %d is %d in package storage", want, got)
		}
	}
	for want, got := range map[int32]int32{
		int32(pb.OpKind_OP_KIND_PUT): int32(storage.OpPut), int32(pb.OpKind_OP_KIND_DELETE): int32(storage.OpDelete),
		int32(pb.OpKind_OP_KIND_DELETE_RANGE): int32(storage.OpDeleteRange),
	} {
		if want != got {
			t.Errorf("op kind %d is %d in package storage", want, got)
		}
	}
	for number, name := range pb.Probe_name {
		if number != 0 && "PROBE_"+strings.ToUpper(storage.Probe(number).String()) != name {
			t.Errorf("probe %d is %s, and %s in package storage", number, name, storage.Probe(number))
		}
	}
	for number, name := range pb.Status_name {
		if number != 0 && "STATUS_"+strings.ToUpper(storage.Status(number).String()) != name {
			t.Errorf("status %d is %s, and %s in package storage", number, name, storage.Status(number))
		}
	}
}

func TestSpecExamples(t *testing.T) {
	examples := specExamples(t)
	for part := range strings.SplitSeq(specText(t), "```hex ") {
		name, block, _ := strings.Cut(part, "\n")
		want, ok := examples[name]
		if !ok {
			continue // the text before the first one
		}
		delete(examples, name)
		block, _, _ = strings.Cut(block, "```")
		var digits strings.Builder
		for line := range strings.Lines(block) {
			line, _, _ = strings.Cut(line, ";")
			digits.WriteString(strings.Join(strings.Fields(line), ""))
		}
		got, err := hex.DecodeString(digits.String())
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is\n% x, %v, it should be\n% x", name, got, err, want)
		}
	}
	for name := range examples {
		t.Errorf("the example %s is not there", name)
	}
}

// specTables are the rows of the first table under each heading, without its head.
func specTables(t *testing.T) map[string][][]string {
	tables := map[string][][]string{}
	heading, done := "", false
	for line := range strings.Lines(specText(t)) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "#"):
			heading, done = strings.TrimLeft(line, "# "), false
		case strings.HasPrefix(line, "|") && !done:
			var cells []string
			for cell := range strings.SplitSeq(strings.Trim(line, "|"), "|") {
				cells = append(cells, strings.Trim(strings.TrimSpace(cell), "`*"))
			}
			tables[heading] = append(tables[heading], cells)
		case len(tables[heading]) > 0:
			done = true
		}
	}
	for heading, rows := range tables {
		if len(rows) < 3 || strings.Trim(rows[1][0], "-") != "" {
			t.Fatalf("the table of %s has no head", heading)
		}
		tables[heading] = rows[2:]
	}
	return tables
}

func specText(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("SPEC.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// compareTable compares the first columns of a table with what they should be.
func compareTable(t *testing.T, name string, columns int, rows [][]string, want []string) {
	t.Helper()
	var got []string
	for _, cells := range rows {
		got = append(got, strings.Join(cells[:columns], " "))
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n%q, it should be\n%q", name, got, want)
	}
}

func row(number int, name string, third any) string {
	return fmt.Sprintf("%d %s %v", number, name, third)
}

func typeName(f protoreflect.FieldDescriptor) string {
	name := f.Kind().String()
	switch {
	case f.IsMap():
		return "map<" + f.MapKey().Kind().String() + ", " + f.MapValue().Kind().String() + ">"
	case f.Message() != nil:
		name = strings.TrimPrefix(string(f.Message().FullName()), "plinth.backend.v1.")
	case f.Enum() != nil:
		name = string(f.Enum().Name())
	}
	switch {
	case f.IsList():
		return "repeated " + name
	case f.HasOptionalKeyword():
		return "optional " + name
	}
	return name
}
