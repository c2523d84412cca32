package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// Each shell completes every command and every flag that there is.
func TestCompletionHasEverything(t *testing.T) {
	parser, err := kong.New(&cli{}, kong.Name("plinth"), kong.Vars{"default_addr": defaultAddr})
	if err != nil {
		t.Fatal(err)
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		script := done(t, "completion", shell)
		var visit func(n *kong.Node, at string)
		visit = func(n *kong.Node, at string) {
			if !strings.Contains(script, "'"+at+"'") && !strings.Contains(script, `\'`+at+`\'`) {
				t.Errorf("%s does not know plinth %s", shell, at)
			}
			for _, f := range n.Flags {
				if want := map[string]string{"bash": "--" + f.Name, "zsh": "'--" + f.Name + ":", "fish": " -l " + f.Name + " "}[shell]; !strings.Contains(script, want) {
					t.Errorf("%s does not know --%s of plinth %s", shell, f.Name, at)
				}
			}
			for _, child := range n.Children {
				visit(child, strings.TrimSpace(at+" "+child.Name))
			}
		}
		visit(parser.Model.Node, "")
		if path, err := exec.LookPath(shell); err == nil { // its syntax, where the shell is there
			file := filepath.Join(t.TempDir(), "script")
			if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(path, "-n", file).CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("%s: %v\n%s", shell, err, out)
			}
		}
	}
}

// What bash offers after some words.
func TestCompletionOfBash(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("bash is not installed")
	}
	script := done(t, "completion", "bash") + "\nplinth() { [[ $* == \"context list -q\" ]] && echo local prod; }\n"
	for line, want := range map[string]string{
		"plinth ser":              "serve",
		"plinth config ":          "default show diff schema",
		"plinth config s":         "show schema",
		"plinth --version --he":   "--help",
		"plinth serve --lo":       "--log --log-level",
		"plinth serve --log ":     "text json",
		"plinth serve --log = js": "json",
		"plinth serve --data ":    "",
		"plinth get --store set ": "",
		"plinth completion ":      "bash zsh fish",
		"plinth nonsense":         "",
		"plinth keys list --add":  "--addr",
		"plinth get --context p":  "prod",
		"plinth context use ":     "local prod",
		"plinth context show l":   "local",
	} {
		words := strings.Split(line, " ")
		cmd := exec.Command(bash, "-c", script+`
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)); _plinth; echo "${COMPREPLY[*]}"`, "bash")
		cmd.Args = append(cmd.Args, words...)
		cmd.Dir = t.TempDir()
		out, err := cmd.CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("%q offers %q, want %q (%v)", line, got, want, err)
		}
	}
}
