package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

const unreleased = "## Unreleased\n"

// heading begins the heading of a version.
func heading(version string) string { return "## " + strings.TrimPrefix(version, "v") + " (" }

func cutFile(file, version string, at time.Time) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if text, err = cutText(text, version, at); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return os.WriteFile(file, text, 0o644)
}

// notes returns the section of a version.
func notes(text []byte, version string) ([]byte, error) {
	_, after, ok := bytes.Cut(text, []byte("\n"+heading(version)))
	if !ok {
		return nil, fmt.Errorf("CHANGELOG.md has no section %q: run go run ./tools/release -cut %s, and commit", heading(version), version)
	}
	_, after, _ = bytes.Cut(after, []byte("\n"))
	section, _, _ := bytes.Cut(after, []byte("\n## "))
	return append(bytes.TrimSpace(section), '\n'), nil
}

// cutText has what is unreleased be that of a version, of which there is nothing yet.
func cutText(text []byte, version string, at time.Time) ([]byte, error) {
	if bytes.Contains(text, []byte("\n"+heading(version))) {
		return nil, fmt.Errorf("%s was cut already", version)
	}
	before, after, ok := bytes.Cut(text, []byte(unreleased))
	if !ok {
		return nil, errors.New("no section \"## Unreleased\"")
	}
	now, _, _ := bytes.Cut(after, []byte("\n## "))
	if len(bytes.TrimSpace(now)) == 0 {
		return nil, errors.New("nothing is unreleased")
	}
	return fmt.Appendf(nil, "%s%s\n%s%s)\n%s", before, unreleased, heading(version), at.UTC().Format(time.DateOnly), after), nil
}
