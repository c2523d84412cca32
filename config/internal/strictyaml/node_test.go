package strictyaml

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// nodeOf is the node n of content, in which ${env:NAME} and $$ are replaced as the
// loader of a configuration does.
func nodeOf(t *testing.T, content string, environ ...string) *Node {
	t.Helper()
	var p Problems
	root := Parse("n.yaml", []byte(content), &p)
	if err := p.Err(); err != nil {
		t.Fatal(err)
	}
	if root == nil {
		root = &Value{}
	}
	root.Walk(func(v *Value) {
		v.data = os.Expand(v.Text, func(name string) string {
			variable, ok := strings.CutPrefix(name, "env:")
			if !ok {
				return "$" + strings.TrimPrefix(name, "$")
			}
			v.Origin = Reference
			variable, _, _ = strings.Cut(variable, ":-")
			i := slices.IndexFunc(environ, func(line string) bool { return strings.HasPrefix(line, variable+"=") })
			return environ[i][len(variable)+1:]
		})
	})
	return &Node{root, "n"}
}

type tenant struct {
	Rate int `yaml:"rate"`
}

func (t *tenant) Validate() error {
	if t.Rate < 0 {
		return &FieldError{"rate", fmt.Sprintf("must not be negative, is %d", t.Rate)}
	}
	return nil
}

type level string

func (l *level) UnmarshalText(b []byte) error {
	if s := string(b); s != "debug" && s != "info" {
		return fmt.Errorf("%q is no level", s)
	}
	*l = level(b)
	return nil
}

type common struct {
	Name string
}

// settings is what a wrapper may decode into, with everything that is supported.
type wrapperSettings struct {
	Extra   common `yaml:",inline"`
	Max     int64  `yaml:"max_bytes,bytes"`
	Small   uint16 `yaml:"small,bytes"`
	Size    Bytes
	TTL     time.Duration `yaml:"ttl"`
	Linger  Duration
	On      bool
	Off     *bool
	N       int8
	U       uint
	F       float32
	Level   level
	Addr    netip.Addr
	Tenants map[string]tenant
	List    []tenant
	Sizes   []int `yaml:"sizes,bytes"`
	Deep    *tenant
	Any     any
	Sub     *Node
	Skip    string `yaml:"-"`
	hidden  string
}

func TestDecode(t *testing.T) {
	no := false
	defaults := func() wrapperSettings {
		return wrapperSettings{Max: 7, TTL: time.Second, N: 3, Off: &no, Tenants: map[string]tenant{"old": {1}}, List: []tenant{{1}, {2}}, Skip: "s", hidden: "h"}
	}
	n := nodeOf(t, `
name: x
max_bytes: 64MiB
small: 1kB
size: "512"
ttl: 90s
linger: 0
on: true
off: True
n: -0
u: 0x1F
f: 1e3
level: debug
addr: ::1
tenants: { a: { rate: 5 }, "1": {} }
list: [ { rate: 9 } ]
sizes: [1, 1KiB]
deep: { rate: 2 }
any: { a: [1, 1.5, true, null, "1", 64MiB] }
sub: { b: 1 }
`)
	got := defaults()
	shared := got.Tenants
	if err := n.Decode(&got); err != nil {
		t.Fatal(err)
	}
	yes := true
	want := wrapperSettings{
		Extra: common{"x"}, Max: 64 << 20, Small: 1000, Size: 512, TTL: 90 * time.Second, On: true, Off: &yes, U: 31, F: 1000,
		Level: "debug", Addr: netip.IPv6Loopback(), Tenants: map[string]tenant{"old": {1}, "a": {5}, "1": {}}, List: []tenant{{9}},
		Sizes: []int{1, 1024}, Deep: &tenant{2}, Any: map[string]any{"a": []any{int64(1), 1.5, true, nil, "1", "64MiB"}},
		Sub: got.Sub, Skip: "s", hidden: "h",
	}
	if got.Sub == nil || got.Sub.Path() != "n.sub" {
		t.Fatalf("sub: %+v", got.Sub)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if len(shared) != 1 || no {
		t.Error("the defaults were changed behind their owner's back")
	}

	for name, n := range map[string]*Node{"nil": nil, "zero": {}, "empty": nodeOf(t, ""), "no keys": nodeOf(t, "{}"), "no values": nodeOf(t, "ttl:\nlist: ~\ndeep:\nsub:")} {
		got := defaults()
		if err := n.Decode(&got); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got.Sub != nil && !got.Sub.IsEmpty() {
			t.Errorf("%s: sub %+v", name, got.Sub)
		}
		got.Sub = nil
		if !reflect.DeepEqual(got, defaults()) {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}

func TestDecodeErrors(t *testing.T) {
	n := nodeOf(t, `name: 5
max_bytes: 64Mb
small: 1MiB
ttl: [1]
on: yes
n: 200
u: -1
f: 1e99
level: trace
addr: nowhere
tenants: { a: { rat: 5 }, b: { rate: -5 }, c: 7 }
list: { rate: 1 }
deep: x
any: [01]
skip: x
hidden: x
commo: {}
`)
	var into wrapperSettings
	want := `n.yaml:1:7: n.name: expected a string, got a number: put it in quotes
n.yaml:2:12: n.max_bytes: "64Mb" is not a size: write a whole number of bytes, or with one of B, kB, MB, GB, TB, KiB, MiB, GiB, TiB, as in 64MiB
n.yaml:3:8: n.small: "1MiB" is too large here
n.yaml:4:1: n.ttl: expected a single value, got a list
n.yaml:5:5: n.on: expected true or false, got "yes"
n.yaml:6:4: n.n: "200" is out of range: must be a whole number from -128 to 127
n.yaml:7:4: n.u: "-1" is out of range: must be a whole number from 0 to 18446744073709551615
n.yaml:8:4: n.f: "1e99" is out of range
n.yaml:9:8: n.level: "trace" is no level
n.yaml:10:7: n.addr: ParseAddr("nowhere"): unable to parse IP
n.yaml:11:17: n.tenants.a.rat: unknown key "rat": did you mean "rate"?
n.yaml:11:38: n.tenants.b.rate: must not be negative, is -5
n.yaml:11:47: n.tenants.c: expected a mapping, got a number
n.yaml:12:1: n.list: expected a list, got a mapping
n.yaml:13:7: n.deep: expected a mapping, got a string
n.yaml:14:7: n.any[0]: "01" is octal for some readers of YAML and decimal for others: write it without the leading zero, with 0o, or in quotes
n.yaml:15:1: n.skip: unknown key "skip": known are addr, any, deep, f, level, linger, list, max_bytes, n, name, off, on and 7 more
n.yaml:16:1: n.hidden: unknown key "hidden": known are addr, any, deep, f, level, linger, list, max_bytes, n, name, off, on and 7 more
n.yaml:17:1: n.commo: unknown key "commo": known are addr, any, deep, f, level, linger, list, max_bytes, n, name, off, on and 7 more`
	err := n.Decode(&into)
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}

	for name, into := range map[string]any{"no pointer": wrapperSettings{}, "nil": nil, "nil pointer": (*wrapperSettings)(nil), "channel": new(chan int), "int keys": new(map[int]string)} {
		if err := nodeOf(t, "a: 1").Decode(into); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// limits validates itself, with the errors that other packages can make.
type limits struct {
	Max   int
	Inner struct{ A, B string }
	List  []string
	err   error
}

func (l *limits) Validate() error { return l.err }

type foreignError struct{ path string }

func (e foreignError) Error() string      { return e.path + ": is wrong" }
func (e foreignError) ConfigPath() string { return e.path }

func TestValidate(t *testing.T) {
	n := nodeOf(t, "max: 5\ninner:\n  a: x\nlist: [a, b]\n")
	tests := []struct {
		name string
		err  error
		want string
	}{
		{"none", nil, "<nil>"},
		{"a field", &FieldError{"max", "is too small"}, "n.yaml:1:6: n.max: is too small"},
		{"a nested field", &FieldError{"inner.a", "is wrong"}, "n.yaml:3:6: n.inner.a: is wrong"},
		{"an item", &FieldError{"list[1]", "is wrong"}, "n.yaml:4:11: n.list[1]: is wrong"},
		{"a field that is not written", &FieldError{"inner.b", "is missing"}, "n.yaml:2:1: n.inner.b: is missing"},
		{"a field that there is not", &FieldError{"x[7].y", "is missing"}, "n.yaml:1:1: n.x[7].y: is missing"},
		{"another package's", foreignError{"max"}, "n.yaml:1:6: n.max: is wrong"},
		{"a wrapped one", fmt.Errorf("cache: %w", foreignError{"max"}), "n.yaml:1:6: n.max: cache: max: is wrong"},
		{"no path", errors.New("makes no sense"), "n.yaml:1:1: n: makes no sense"},
		{"joined", errors.Join(foreignError{"list[0]"}, errors.New("and"), errors.Join(&FieldError{"max", "is too small"})),
			"n.yaml:1:1: n: and\nn.yaml:1:6: n.max: is too small\nn.yaml:4:8: n.list[0]: is wrong"},
		{"strange paths", errors.Join(foreignError{"["}, foreignError{"[x"}, foreignError{`"`}, foreignError{"a..b"}, foreignError{"list[-1]"}),
			"n.yaml:1:1: n.\": is wrong\nn.yaml:1:1: n.a..b: is wrong\nn.yaml:1:1: n[: is wrong\nn.yaml:1:1: n[x: is wrong\nn.yaml:4:1: n.list[-1]: is wrong"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := fmt.Sprint(n.Decode(&limits{err: tt.err})); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
	// What could not be decoded is not also reported as missing.
	if got, want := fmt.Sprint(nodeOf(t, "max: x\nlits: []").Decode(&limits{err: errors.Join(foreignError{"max"}, foreignError{"list"})})),
		"n.yaml:1:6: n.max: expected a whole number, got \"x\"\nn.yaml:2:1: n.lits: unknown key \"lits\": did you mean \"list\"?"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestJSON(t *testing.T) {
	tests := []struct{ yaml, want string }{
		{"{}", `{}`},
		{"", ``},
		{"[]", `[]`},
		{"z: 1\na: 2\n", `{"z":1,"a":2}`},
		{"[1, -1, +1, 0, -0, 0x1F, 0o17, 123456789012345678901234567890]", `[1,-1,1,0,-0,31,15,123456789012345678901234567890]`},
		{"[1.5, .5, 1., 1e3, -1.25e-2]", `[1.5,0.5,1,1000,-0.0125]`},
		{"[true, False, null, ~, Null]", `[true,false,null,null,null]`},
		{"[yes, on, 1_000, 12:30, 2024-01-01, 64MiB, 30s]", `["yes","on","1_000","12:30","2024-01-01","64MiB","30s"]`},
		{`["1", 'true', "null", ""]`, `["1","true","null",""]`},
		{"a: |\n  line\n  \"two\"\n", `{"a":"line\n\"two\"\n"}`},
		{`["${env:N}", "x${env:N}"]`, `["5","x5"]`},
		{"- ${env:N}\n- ${env:Z}\n- ${env:T}\n- ${env:E:-}\n- a$b\n- $$\n- $${env:N}\n", `[5,"007",true,"","a$b","$","${env:N}"]`},
		{`["😀é<"]`, `["😀é` + `\u003c"]`},
		{"[.inf]", "n.yaml:1:2: n[0]: \".inf\" is not a finite number"},
		{"[-.Inf, .nan, 010, 1e999, 0x10000000000000000]", "n.yaml:1:2: n[0]: \"-.Inf\" is not a finite number\n" +
			"n.yaml:1:9: n[1]: \".nan\" is not a finite number\n" +
			"n.yaml:1:15: n[2]: \"010\" is octal for some readers of YAML and decimal for others: write it without the leading zero, with 0o, or in quotes\n" +
			"n.yaml:1:20: n[3]: \"1e999\" is out of range\n" +
			"n.yaml:1:27: n[4]: \"0x10000000000000000\" is out of range"},
	}
	for _, tt := range tests {
		got, err := nodeOf(t, tt.yaml, "N=5", "Z=007", "T=true", "E=").JSON()
		if err != nil {
			got = []byte(err.Error())
		}
		if string(got) != tt.want {
			t.Errorf("%q: got %s, want %s", tt.yaml, got, tt.want)
		}
	}
	if got, err := (*Node)(nil).JSON(); got != nil || err != nil {
		t.Errorf("nil: %s, %v", got, err)
	}
}

func TestErrorf(t *testing.T) {
	n := nodeOf(t, "a:\n  b: [x, y, { c: 1 }]\n\"d.e\": 2\n")
	for path, want := range map[string]string{
		"":           "n.yaml:1:1: n: no",
		"a.b[2].c":   "n.yaml:2:18: n.a.b[2].c: no",
		"a.b[9].c":   "n.yaml:2:3: n.a.b[9].c: no",
		"a.x":        "n.yaml:1:1: n.a.x: no",
		`"d.e"`:      `n.yaml:3:8: n."d.e": no`,
		"nothing":    "n.yaml:1:1: n.nothing: no",
		"a.b[2].c.d": "n.yaml:2:18: n.a.b[2].c.d: no",
	} {
		if got := n.Errorf(path, "%s", "no").Error(); got != want {
			t.Errorf("%q: got %s, want %s", path, got, want)
		}
	}
	if got := (*Node)(nil).Errorf("a", "no").Error(); got != "a: no" {
		t.Errorf("nil: %s", got)
	}
	var e *Error
	if err := error(Join(nil, n.Errorf("a", "2"), errors.Join(n.Errorf("", "1"), nil), n.Errorf("a", "2"), errors.New("plain"))); !errors.As(err, &e) ||
		err.Error() != "n.yaml:1:1: n: 1\nn.yaml:1:1: n.a: 2\nplain" {
		t.Errorf("joined: %v", err)
	}
	if err := Join(nil, nil); err != nil {
		t.Errorf("nothing joined: %v", err)
	}
}

// TestRedaction proves that a value from a reference is in no error, also where
// another package wrote the message.
func TestRedaction(t *testing.T) {
	const secret = `hun"ter2`
	n := nodeOf(t, "token: ${env:S}\nlevel: ${env:S}\nn: ${env:S}\nsize: ${env:S}\nttl: x-${env:S}\nport: ${env:P}\n", "S="+secret, "P=5")
	var into struct {
		Token string
		Level level
		N     int
		Size  Bytes
		TTL   time.Duration
		Port  string
	}
	errs := []error{
		n.Decode(&into),
		n.Errorf("token", "%s %q %v is refused", secret, secret, []string{secret}),
		n.Errorf("port", "port 5 of 1500 is taken"),
	}
	got := Join(errs...).Error()
	if strings.Contains(got, "ter2") {
		t.Errorf("a secret is shown:\n%s", got)
	}
	want := `n.yaml:1:8: n.token: ${env:S} "${env:S}" [${env:S}] is refused
n.yaml:2:8: n.level: ${env:S} is not valid here
n.yaml:3:4: n.n: expected a whole number, got ${env:S}
n.yaml:4:7: n.size: ${env:S} is not a size: ` + sizeHelp + `
n.yaml:5:6: n.ttl: x-${env:S} is not a duration: ` + durationHelp + `
n.yaml:6:7: n.port: port ${env:P} of 1500 is taken`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
