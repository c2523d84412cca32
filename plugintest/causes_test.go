package plugintest

import (
	"strings"
	"testing"

	"github.com/plinthkv/plinth/storage/storagetest"
)

// A cause that several failures share is explained by the first, and named by the others.
func TestCauses(t *testing.T) {
	var texts []string
	each := said(func(r storagetest.Result) { texts = append(texts, r.Text) })
	for _, text := range []string{
		"crud.go:12: Get(\"a\"): plugin acme: the plugin broke the ABI: no answer",
		"crud.go:90: a value is missing",
		"scan.go:7: scan [a, b): plugin acme: the plugin broke the ABI: no answer\nand more",
		"scan.go:9: plugin acme: invalid answer of the plugin: page: the field at 3 is cut",
		"crud.go:90: a value is missing",
	} {
		each(storagetest.Result{Category: "c", Name: text[:7], Outcome: storagetest.Failed, Text: text})
	}
	for i, want := range []string{"crud.go:12: Get", "a value is missing", "the cause of c/crud.go again: the plugin broke the ABI: no answer", "scan.go:9: plugin acme: invalid", "crud.go:90: a value"} {
		if !strings.Contains(texts[i], want) {
			t.Errorf("text %d is %q, want %q in it", i, texts[i], want)
		}
	}
}
