package plugintest

import (
	"strings"

	"github.com/plinthkv/plinth/storage/storagetest"
)

// signs begin the part of a failure that says what is wrong with the plugin's answers,
// whatever the check asked for.
var signs = []string{"the plugin broke the ABI: ", "invalid answer of the plugin: ", " is no frame: ", "the plugin has failed and its state is lost: ", "cannot be opened: "}

// said returns each, with the cause of a failure said once: of another failure with the
// same cause, the text names the check that said it.
func said(each func(storagetest.Result)) func(storagetest.Result) {
	by := map[string]string{} // the check that said a cause first
	return func(r storagetest.Result) {
		if r.Outcome == storagetest.Failed {
			name := r.Category + "/" + r.Name
			if cause := causeOf(r.Text); cause != "" {
				if before, again := by[cause]; again {
					r.Text = "the cause of " + before + " again: " + cause
				} else {
					by[cause] = name
				}
			}
		}
		each(r)
	}
}

// causeOf returns the part of a text that failures of one cause share, or "".
func causeOf(text string) string {
	for _, sign := range signs {
		if _, cause, ok := strings.Cut(text, sign); ok {
			line, _, _ := strings.Cut(cause, "\n")
			return strings.TrimSpace(strings.TrimPrefix(sign, " ")) + " " + line
		}
	}
	return ""
}
