package main

import (
	"context"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// No help shows the name of a Go type as a placeholder, or quotes that are not what to type.
func TestHelpTexts(t *testing.T) {
	parser, err := kong.New(&cli{}, kong.Vars{"default_addr": defaultAddr}, kong.BindTo(context.Background(), (*context.Context)(nil)))
	if err != nil {
		t.Fatal(err)
	}
	commands := []string{""}
	_ = kong.Visit(parser.Model.Node, func(n kong.Visitable, next kong.Next) error {
		if node, ok := n.(*kong.Node); ok && node.Type == kong.CommandNode {
			commands = append(commands, node.Path())
		}
		return next(nil)
	})
	wrong := regexp.MustCompile(`\[-|-(GITHUB|COM)-|[“”]`)
	for _, command := range commands {
		command = strings.TrimPrefix(strings.TrimPrefix(command, "plinth"), " ")
		code, help, errs := plinthCommand(append(strings.Fields(regexp.MustCompile(`<[^>]*>|\[[^\]]*\]`).ReplaceAllString(command, "")), "--help")...)
		if code != exitDone || !strings.Contains(help, "Usage: plinth") {
			t.Errorf("plinth %s --help: exit code %d: %s", command, code, errs)
		}
		for _, line := range strings.Split(help, "\n") {
			if wrong.MatchString(line) {
				t.Errorf("plinth %s --help: %s", command, line)
			}
		}
	}
	if len(commands) < 40 {
		t.Errorf("only %d commands were found", len(commands))
	}
}
