package main

import (
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// rephrased lists the parser's messages in the words of the rest of the program: what a
// user wrote stands in quotes, and nothing else does.
var rephrased = []struct {
	theirs *regexp.Regexp
	ours   string
}{
	{regexp.MustCompile(`expected .* value but got "EOL" \(<EOL>\)`), `a value is missing`},
	{regexp.MustCompile(`expected \w+ value but got ("(?:[^"\\]|\\.)*") \((?:short|long) flag\); perhaps try (--[^=]+)="(.*)"\?`), `$1 looks like a flag: write $2=$3`},
	{regexp.MustCompile(`expected a valid \d+ bit int but got ("(?:[^"\\]|\\.)*")`), `$1 is not a whole number`},
	{regexp.MustCompile(`expected a valid \d+ bit uint but got ("(?:[^"\\]|\\.)*")`), `$1 is not a whole number of at least 0`},
	{regexp.MustCompile(`expected (?:an int|a float) but got ("(?:[^"\\]|\\.)*") \(\w+\)`), `$1 is not a number`},
	{regexp.MustCompile(`bool value must be true, 1, yes, false, 0 or no but got ("(?:[^"\\]|\\.)*")`), `$1 is neither true nor false`},
	{regexp.MustCompile(`expected "<key>=<value>" but got ("(?:[^"\\]|\\.)*")`), `$1 is not PATH=VALUE`},
	{regexp.MustCompile(`^.* \(from envar (\w+)=""\)$`), `$1 is empty`},
	{regexp.MustCompile(`^--\S+: (.*) \(from envar (\w+)=.*\)$`), `$2: $1`},
	{regexp.MustCompile(`^\[?(\S+?)\]?: is empty$`), `$1 is empty`},
	{regexp.MustCompile(`did you mean "([^"]*)"\?`), `did you mean $1?`},
}

var (
	enum    = regexp.MustCompile(`^(--\S+) must be one of .* but got "(.*)"$`)
	number  = regexp.MustCompile(`^(unknown flag -\d), did you mean .*$`)
	dashed  = regexp.MustCompile(`^(unknown flag -[^-]\S*)(, did you mean .*\?)?$`)
	missing = regexp.MustCompile(`^expected "([^"]*)"$`)
	oneOf   = regexp.MustCompile(`one of "[^"]*"(?:, ?"[^"]*")*`)
	quoted  = regexp.MustCompile(`"([^"]*)"`)
)

// usage returns what is wrong with the arguments, and which help to ask for.
func usage(err error) (what, help string) {
	what, help = err.Error(), "plinth --help"
	for _, r := range rephrased {
		what = r.theirs.ReplaceAllString(what, r.ours)
	}
	if m := missing.FindStringSubmatch(what); m != nil {
		what = "missing: " + m[1]
	}
	what = oneOf.ReplaceAllStringFunc(what, func(s string) string {
		var names []string
		for _, m := range quoted.FindAllStringSubmatch(s, -1) {
			names = append(names, m[1])
		}
		return "one of " + strings.Join(names, ", ")
	})
	what = number.ReplaceAllString(what, "$1")
	var parse *kong.ParseError
	if errors.As(err, &parse) && parse.Context != nil {
		if command := parse.Context.Selected(); command != nil {
			help = "plinth " + command.Path() + " --help"
			if m := enum.FindStringSubmatch(what); m != nil {
				what = variableOf(parse.Context, m[1], m[2]) + strings.TrimPrefix(what, m[1])
			}
			for theirs, ours := range elsewhere {
				if flag := "unknown flag --" + theirs; strings.HasPrefix(what+",", flag+",") && hasFlag(parse.Context, ours) {
					what = flag + ", did you mean --" + ours + "?"
				}
			}
			if m := dashed.FindStringSubmatch(what); m != nil && len(command.Positional) > 0 {
				what = m[1] + `: write -- before a value that begins with "-"`
			}
		}
	}
	return what, help
}

// elsewhere maps names of flags in comparable programs to ours.
var elsewhere = map[string]string{"client-cert": "cert", "client-key": "key", "cacert": "ca", "ca-cert": "ca"}

// variableOf returns the variable that has set a flag to a value, else the flag.
func variableOf(k *kong.Context, flag, value string) string {
	for _, f := range k.Flags() {
		if "--"+f.Name == flag {
			for _, variable := range f.Envs {
				flag = named(flag, variable, value)
			}
		}
	}
	return flag
}

func hasFlag(k *kong.Context, name string) bool {
	return slices.ContainsFunc(k.Flags(), func(f *kong.Flag) bool { return f.Name == name })
}
