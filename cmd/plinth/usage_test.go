package main

import (
	"strings"
	"testing"
)

// What is wrong with arguments is said in the program's words: of quotes there are those
// around what was written, and the help that is named is the command's own.
func TestUsageErrors(t *testing.T) {
	for args, want := range map[string]string{
		"foo":                    "unexpected argument foo|plinth --help",
		"get":                    "missing: <key>|plinth get --help",
		"set":                    "missing: <key> <value>|plinth set --help",
		"get a b":                "unexpected argument b|plinth get --help",
		"scan --limit x":         `--limit: "x" is not a whole number|plinth scan --help`,
		"scan --limit":           "--limit: a value is missing|plinth scan --help",
		"get --addr":             "--addr: a value is missing|plinth get --help",
		"serve --log xml":        `--log must be one of text, json but got "xml"|plinth serve --help`,
		"serve --bogus":          "unknown flag --bogus|plinth serve --help",
		"get -x":                 `unknown flag -x: write -- before a value that begins with "-"|plinth get --help`,
		"set k -5":               `unknown flag -5: write -- before a value that begins with "-"|plinth set --help`,
		"set k -50":              `unknown flag -5: write -- before a value that begins with "-"|plinth set --help`,
		"status -x":              "unknown flag -x, did you mean -h?|plinth status --help",
		"cas k v --expect -5":    `--expect: "-5" looks like a flag: write --expect=-5|plinth cas --help`,
		"scan --limit -5":        `--limit: "-5" looks like a flag: write --limit=-5|plinth scan --help`,
		"get --storre x k":       "unknown flag --storre, did you mean --store?|plinth get --help",
		"config":                 "expected one of default, show, diff, schema|plinth config --help",
		"ledger":                 "expected one of bootstrap, try, verify|plinth ledger --help",
		"plugin new":             "missing: <dir>|plinth plugin new --help",
		"check --explain=say a":  `--explain: "say" is neither true nor false|plinth check --help`,
		"bench --rate x":         `--rate: "x" is not a number|plinth bench --help`,
		"set k v --ttl 5":        `--ttl: "5" has no unit: write a number with one of ns, us, ms, s, m, h, as in 30s or 1h30m|plinth set --help`,
		"set k v --ttl soon":     `--ttl: "soon" is not a duration: write a number with one of ns, us, ms, s, m, h, as in 30s or 1h30m|plinth set --help`,
		"set k v --ttl 010s":     `--ttl: "010s" has a leading zero, which is octal for some readers: write it without|plinth set --help`,
		"set k v --ttl=-1s":      `--ttl: "-1s" is negative: write a number with one of ns, us, ms, s, m, h, as in 30s or 1h30m|plinth set --help`,
		"serve --set a":          `--set: "a" is not PATH=VALUE|plinth serve --help`,
		"-5":                     "unknown flag -5|plinth --help",
		"--version --jso":        "unknown flag --jso, did you mean --json?|plinth version --help",
		"get k --client-cert c":  "unknown flag --client-cert, did you mean --cert?|plinth get --help",
		"get k --client-key c":   "unknown flag --client-key, did you mean --key?|plinth get --help",
		"get k --cacert c":       "unknown flag --cacert, did you mean --ca?|plinth get --help",
		"version --cert c":       "unknown flag --cert|plinth version --help",
		"serve --data=":          "--data is empty|plinth serve --help",
		"config default --data=": "--data is empty|plinth config default --help",
		"serve --config=":        "--config is empty|plinth serve --help",
		"get k --token-file=":    "--token-file is empty|plinth get --help",
		"get k --ca=":            "--ca is empty|plinth get --help",
		"bench --svg=":           "--svg is empty|plinth bench --help",
		"plugin list --addr=":    "--addr is empty|plinth plugin list --help",
		"plugin new --source= a": "--source is empty|plinth plugin new --help",
		`scan --limit "expected`: `--limit: "\"expected" is not a whole number|plinth scan --help`,
	} {
		code, _, errs := plinthCommand(strings.Fields(args)...)
		text, help, _ := strings.Cut(want, "|")
		if code != exitUsage || errs != "plinth: "+text+"\nplinth: try \""+help+"\"\n" {
			t.Errorf("plinth %s: exit code %d:\n%swant %s, %s", args, code, errs, text, help)
		}
	}
}

// An empty argument or variable, as an unset variable of a shell gives it, is not the working
// directory.
func TestEmptyNamesOfFiles(t *testing.T) {
	for _, args := range [][]string{{"check", ""}, {"export", ""}, {"import", ""}, {"plugin", "test", ""}, {"restore", "default", ""}} {
		code, _, errs := plinthCommand(args...)
		if code != exitUsage || !strings.Contains(errs, "plinth: <file> is empty\n") {
			t.Errorf("plinth %q: exit code %d:\n%s", args, code, errs)
		}
	}
	t.Setenv("PLINTH_CONFIG", "")
	if code, _, errs := plinthCommand("config", "show"); code != exitUsage || !strings.Contains(errs, "plinth: PLINTH_CONFIG is empty\n") {
		t.Errorf("exit code %d:\n%s", code, errs)
	}
}

// What a variable has set is named by the variable.
func TestUsageOfVariables(t *testing.T) {
	for _, c := range []struct{ variable, value, args, want string }{
		{"PLINTH_LOG", "xml", "serve", `PLINTH_LOG must be one of text, json but got "xml"`},
		{"PLINTH_LOG_LEVEL", "loud", "serve", `PLINTH_LOG_LEVEL is "loud", it must be debug, info, warn or error`},
		{"PLINTH_CA", "/none/ca.pem", "get k --addr https://127.0.0.1:1", "PLINTH_CA: open /none/ca.pem: no such file"},
		{"PLINTH_CA", "/none/ca.pem", "get k --addr grpcs://127.0.0.1:1", "PLINTH_CA: open /none/ca.pem: no such file"},
		{"PLINTH_TOKEN_FILE", "/none/token", "get k", "PLINTH_TOKEN_FILE: open /none/token: no such file"},
		{"PLINTH_CERT", "/none/me.pem", "get k --addr https://127.0.0.1:1", "PLINTH_CERT requires --key"},
		{"PLINTH_CA", "", "get k", "PLINTH_CA is empty"},
		{"PLINTH_STORE", "a", "get k --addr https://127.0.0.1:1 --ca /none/ca.pem", "--ca: open /none/ca.pem: no such file"},
		{"PLINTH_STORE", "a", "get k --addr grpcs://127.0.0.1:1 --key /none/key.pem", "--key requires --cert"},
	} {
		t.Run(c.variable+" "+c.args, func(t *testing.T) {
			t.Setenv(c.variable, c.value)
			if code, _, errs := plinthCommand(strings.Fields(c.args)...); code == exitDone || !strings.Contains(errs, "plinth: "+c.want) {
				t.Errorf("exit code %d:\n%swant %s", code, errs, c.want)
			}
		})
	}
}
