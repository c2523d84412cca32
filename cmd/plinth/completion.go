package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"Shell: bash, zsh or fish."`
}

// Help says how to use what the command prints.
func (completionCmd) Help() string {
	return `bash: add "source <(plinth completion bash)" to ~/.bashrc.
zsh: write the output to a file _plinth in a folder of $fpath, before compinit runs.
fish: write the output to ~/.config/fish/completions/plinth.fish.`
}

func (c *completionCmd) Run(k *kong.Context, e env) error {
	shells := map[string]func(io.Writer, []place){"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}
	shells[c.Shell](e.stdout, places(k.Model))
	return nil
}

// place has the possible next words after some words of a command.
type place struct {
	at       string // the words, such as "config show"; empty after the program's name
	words    []word // commands, or the values of an argument that has few
	contexts bool   // an argument is the name of a context
	flags    []option
}

type word struct{ name, help string }

type option struct {
	name, short, help string
	value             bool     // it has one
	values            []string // all of them; nil if any text is one
	file              bool     // the value is a path
	contexts          bool     // the value is the name of a context
}

// places returns all of the program.
func places(m *kong.Application) (all []place) {
	var walk func(n *kong.Node, at string)
	walk = func(n *kong.Node, at string) {
		p := place{at: at}
		for _, group := range n.AllFlags(true) {
			for _, f := range group {
				one := option{name: "--" + f.Name, help: f.Help, value: !f.IsBool(), file: f.Tag.Type == "path", contexts: f.Tag.Get("values") == "contexts"}
				if f.Short != 0 {
					one.short = "-" + string(f.Short)
				}
				if f.Enum != "" {
					one.values = f.EnumSlice()
				}
				p.flags = append(p.flags, one)
			}
		}
		for _, child := range n.Children {
			p.words = append(p.words, word{child.Name, child.Help})
		}
		if len(n.Positional) > 0 && n.Positional[0].Enum != "" {
			for _, value := range n.Positional[0].EnumSlice() {
				p.words = append(p.words, word{value, n.Positional[0].Help})
			}
		}
		p.contexts = len(n.Positional) > 0 && n.Positional[0].Tag.Get("values") == "contexts"
		all = append(all, p)
		for _, child := range n.Children {
			walk(child, strings.TrimSpace(at+" "+child.Name))
		}
	}
	walk(m.Node, "")
	return all
}

// steps returns the words that lead from one place to another, each after the place that it
// leads from.
func steps(all []place) []string {
	var out []string
	for _, p := range all[1:] {
		parent, last := "", p.at
		if i := strings.LastIndexByte(p.at, ' '); i >= 0 {
			parent, last = p.at[:i], p.at[i+1:]
		}
		out = append(out, parent+" "+last)
	}
	return out
}

// listContexts is a shell's command for the names of contexts.
const listContexts = "plinth context list -q 2>/dev/null"

// arms returns the places before a value: at a flag whose values are known, at one of a file, at
// one of a context, and at any other that has a value.
func arms(all []place) (known map[string][]string, files, contexts, other []string) {
	known = map[string][]string{}
	for _, p := range all {
		for _, f := range p.flags {
			for _, name := range []string{f.name, f.short} {
				switch before := p.at + " " + name; {
				case name == "" || !f.value:
				case f.values != nil:
					known[before] = f.values
				case f.file:
					files = append(files, before)
				case f.contexts:
					contexts = append(contexts, before)
				default:
					other = append(other, before)
				}
			}
		}
	}
	return known, files, contexts, other
}

// single returns s in single quotes, for all three shells.
func single(s string) string {
	return "'" + strings.NewReplacer(`'`, `'\''`, "\n", " ").Replace(s) + "'"
}

// choice returns a pattern of a case, one of these strings.
func choice(of []string) string {
	quoted := make([]string, len(of))
	for i, s := range of {
		quoted[i] = single(s)
	}
	return strings.Join(quoted, "|")
}

func names(words []word) string {
	var out []string
	for _, w := range words {
		out = append(out, w.name)
	}
	return strings.Join(out, " ")
}

func flagNames(flags []option) string {
	var out []string
	for _, f := range flags {
		if out = append(out, f.name); f.short != "" {
			out = append(out, f.short)
		}
	}
	return strings.Join(out, " ")
}

func bashCompletion(w io.Writer, all []place) {
	known, files, contexts, other := arms(all)
	fmt.Fprintf(w, `# Completion of plinth for bash: source <(plinth completion bash)
_plinth() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} at="" commands="" flags="" i
	if [[ $cur == "=" ]]; then
		cur=""
	elif [[ $prev == "=" ]]; then
		prev=${COMP_WORDS[COMP_CWORD-2]}
	fi
	for ((i = 1; i < COMP_CWORD; i++)); do
		case "$at ${COMP_WORDS[i]}" in
		%s) at="${at:+$at }${COMP_WORDS[i]}" ;;
		esac
	done
	case "$at $prev" in
`, choice(steps(all)))
	for _, before := range slices.Sorted(maps.Keys(known)) {
		fmt.Fprintf(w, "\t%s) COMPREPLY=($(compgen -W %s -- \"$cur\")); return ;;\n", single(before), single(strings.Join(known[before], " ")))
	}
	fmt.Fprintf(w, "\t%s) COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n", choice(files))
	fmt.Fprintf(w, "\t%s) COMPREPLY=($(compgen -W \"$(%s)\" -- \"$cur\")); return ;;\n", choice(contexts), listContexts)
	fmt.Fprintf(w, "\t%s) COMPREPLY=(); return ;;\n\tesac\n\tcase \"$at\" in\n", choice(other))
	for _, p := range all {
		commands := single(names(p.words))
		if p.contexts {
			commands = "$(" + listContexts + ")"
		}
		fmt.Fprintf(w, "\t%s) commands=%s flags=%s ;;\n", single(p.at), commands, single(flagNames(p.flags)))
	}
	fmt.Fprint(w, `	esac
	if [[ $cur == -* ]]; then
		commands=$flags
	fi
	COMPREPLY=($(compgen -W "$commands" -- "$cur"))
}
complete -o bashdefault -o default -F _plinth plinth
`)
}

func zshCompletion(w io.Writer, all []place) {
	known, files, contexts, other := arms(all)
	fmt.Fprintf(w, `#compdef plinth
# Completion of plinth for zsh: plinth completion zsh > "${fpath[1]}/_plinth"
_plinth() {
	local at="" i
	local -a commands flags
	for ((i = 2; i < CURRENT; i++)); do
		case "$at ${words[i]}" in
		(%s) at="${at:+$at }${words[i]}" ;;
		esac
	done
	case "$at ${words[CURRENT-1]}" in
`, choice(steps(all)))
	for _, before := range slices.Sorted(maps.Keys(known)) {
		fmt.Fprintf(w, "\t(%s) compadd -- %s; return ;;\n", single(before), strings.Join(known[before], " "))
	}
	fmt.Fprintf(w, "\t(%s) _files; return ;;\n\t(%s) compadd -- ${(f)\"$(%s)\"}; return ;;\n", choice(files), choice(contexts), listContexts)
	fmt.Fprintf(w, "\t(%s) _message value; return ;;\n\tesac\n\tcase \"$at\" in\n", choice(other))
	for _, p := range all {
		fmt.Fprintf(w, "\t(%s)\n\t\tcommands=(", single(p.at))
		for _, one := range p.words {
			fmt.Fprintf(w, " %s", single(one.name+":"+one.help))
		}
		if p.contexts {
			fmt.Fprintf(w, " ${(f)\"$(%s)\"}", listContexts)
		}
		fmt.Fprint(w, " )\n\t\tflags=(")
		for _, f := range p.flags {
			fmt.Fprintf(w, " %s", single(f.name+":"+f.help))
		}
		fmt.Fprint(w, " )\n\t\t;;\n")
	}
	fmt.Fprint(w, `	esac
	if [[ ${words[CURRENT]} == -* ]]; then
		_describe -o flag flags
	elif (( $#commands )); then
		_describe command commands
	else
		_files
	fi
}
if [ "$funcstack[1]" = "_plinth" ]; then
	_plinth "$@"
else
	compdef _plinth plinth
fi
`)
}

func fishCompletion(w io.Writer, all []place) {
	quoted := strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\n", " ")
	quote := func(s string) string { return "'" + quoted.Replace(s) + "'" }
	var ways []string
	for _, s := range steps(all) {
		ways = append(ways, quote(s))
	}
	fmt.Fprintf(w, `# Completion of plinth for fish: plinth completion fish > ~/.config/fish/completions/plinth.fish
function __plinth_at
	set -l at ''
	for word in (commandline -opc)[2..-1]
		switch "$at $word"
			case %s
				set at (string trim "$at $word")
		end
	end
	test "$at" = "$argv[1]"
end
complete -c plinth -e
`, strings.Join(ways, " "))
	for _, p := range all {
		here := "complete -c plinth -n " + quote("__plinth_at "+quote(p.at))
		for _, one := range p.words {
			fmt.Fprintf(w, "%s -f -a %s -d %s\n", here, quote(one.name), quote(one.help))
		}
		if p.contexts {
			fmt.Fprintf(w, "%s -f -a %s\n", here, quote("("+listContexts+")"))
		}
		for _, f := range p.flags {
			line := here + " -l " + strings.TrimPrefix(f.name, "--")
			if f.short != "" {
				line += " -s " + strings.TrimPrefix(f.short, "-")
			}
			switch {
			case f.values != nil:
				line += " -x -a " + quote(strings.Join(f.values, " "))
			case f.file:
				line += " -r -F"
			case f.contexts:
				line += " -x -a " + quote("("+listContexts+")")
			case f.value:
				line += " -x"
			}
			fmt.Fprintf(w, "%s -d %s\n", line, quote(f.help))
		}
	}
}
