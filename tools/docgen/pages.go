package main

import (
	"bytes"
	"fmt"
	"strings"
)

const generated = "<!-- Written by tools/docgen from the source: change that, and run make generate. -->\n\n"

// configPage writes docs/config.md.
func configPage(c described, carried []carrier, plugins []plugin) []byte {
	var b bytes.Buffer
	b.WriteString("# Configuration: every setting\n\n" + generated)
	b.WriteString(`This page lists every setting. [configuration.md](configuration.md) explains how they work together, layers, references, the
environment and errors; [wrappers.md](wrappers.md) has the settings of stages. "plinth config schema" prints this page as a JSON
Schema, for editors.

A **size** is a number of bytes or has a unit (512, 4KiB, 64MiB), a **duration** has one (30s, 1h30m). If a default is 0 or empty,
the last column says what that means.

`)
	c.doc = "" // it speaks to programs
	section(&b, "the file", "", "", c)
	for _, k := range carried {
		is := k.Noun
		if k.Isolated {
			is += " in a process of its own"
		}
		section(&b, "plugins.NAME, a "+is, "plugins.NAME", ", of a "+is, k.config)
	}
	for _, p := range plugins {
		section(&b, "plugin "+p.name+", under stores.NAME.backend.config", p.name, "", p.config)
	}
	return b.Bytes()
}

// section writes a struct, whose path is empty for the whole file, and then those within
// it, with whose they are in their titles.
func section(b *bytes.Buffer, title, path, whose string, d described) {
	fmt.Fprintf(b, "## %s\n\n", title)
	if d.doc != "" {
		b.WriteString(sentence(d.doc) + "\n\n")
	}
	table(b, d.fields)
	for _, f := range d.fields {
		inner := f.name
		if path != "" {
			inner = path + "." + f.name
		}
		switch {
		case f.kind == object:
			section(b, inner+whose, inner, whose, f.described)
		case f.element != nil && f.element.kind == object:
			section(b, inner+".NAME"+whose, inner+".NAME", whose, *f.element)
		}
	}
}

func table(b *bytes.Buffer, fields []field) {
	if len(fields) == 0 {
		return
	}
	b.WriteString("| setting | type | default | meaning |\n| --- | --- | --- | --- |\n")
	for _, f := range fields {
		typed := f.typed()
		if f.secret {
			typed += ", secret"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", f.name, typed, code(f.def), strings.ReplaceAll(sentence(f.doc), "|", `\|`))
	}
	b.WriteString("\n")
}

func (d described) typed() string {
	switch {
	case d.kind == list:
		return "list of " + d.element.typed()
	case d.kind == names:
		return "mapping of names to " + d.element.typed()
	}
	return string(d.kind)
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

func sentence(s string) string {
	if s == "" {
		return ""
	}
	s = strings.ToUpper(s[:1]) + s[1:]
	if !strings.HasSuffix(s, ".") {
		s += "."
	}
	return s
}

// summary returns the first sentence of a wrapper's package comment, without its name.
func (w wrapper) summary() string {
	first, _, _ := strings.Cut(w.opening(strings.Join(strings.Fields(w.doc), " ")), ". ")
	return sentence(first)
}

// opening returns the first paragraph of the package comment without its name.
func (w wrapper) opening(paragraph string) string {
	if _, after, ok := strings.Cut(paragraph, "the wrapper "+w.kind); ok {
		paragraph = strings.TrimPrefix(strings.TrimLeft(after, ":, "), "which ")
	}
	return paragraph
}

// wrappersPage writes docs/wrappers.md.
func wrappersPage(kinds []wrapper) []byte {
	var b bytes.Buffer
	b.WriteString("# Wrappers\n\n" + generated)
	b.WriteString(`A wrapper is a stage of a pipeline. A pipeline lists its stages from the outermost to the innermost:

` + "```yaml in stores.default" + `
pipeline:
  - instrument                                # a bare name: all defaults
  - cache: { max_bytes: 64MiB, ttl: 60s }
  - batch: { name: merge }                    # "name" distinguishes stages of one kind
` + "```" + `

"plinth check" refuses orders that break something and warns of weak ones; "plinth check --explain" prints the guarantees of the whole pipeline.
[configuration.md](configuration.md#pipelines) has a pipeline that suits most stores.

| stage | does |
| --- | --- |
`)
	for _, k := range kinds {
		fmt.Fprintf(&b, "| [`%s`](#%s) | %s |\n", k.kind, k.kind, k.summary())
	}
	b.WriteString("\n")
	for _, k := range kinds {
		fmt.Fprintf(&b, "## %s\n\n", k.kind)
		for i, paragraph := range strings.Split(strings.TrimSpace(k.doc), "\n\n") {
			paragraph = strings.Join(strings.Fields(paragraph), " ")
			if i == 0 {
				paragraph = sentence(k.opening(paragraph))
			}
			b.WriteString(paragraph + "\n\n")
		}
		for _, rule := range k.declaration.Never {
			verb := "should not"
			if rule.Refuse {
				verb = "must not"
			}
			fmt.Fprintf(&b, "It %s be below a stage that %s: %s.\n\n", verb, rule.Under, rule.Why)
		}
		table(&b, k.config.fields)
		for _, f := range k.config.fields {
			switch {
			case f.kind == object:
				fmt.Fprintf(&b, "Under `%s`:\n\n", f.name)
				table(&b, f.fields)
			case f.element != nil && f.element.kind == object:
				fmt.Fprintf(&b, "Each of `%s`:\n\n", f.name)
				table(&b, f.element.fields)
			}
		}
	}
	return b.Bytes()
}
