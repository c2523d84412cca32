package sdk_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

type settings struct {
	MaxBytes sdk.Size `json:"max_bytes"`
	Name     string   `json:"name"`
	Peers    []struct {
		Addr string `json:"addr"`
	} `json:"peers"`
	Timeouts *struct {
		Connect string `json:"connect"`
		Attempt string `json:"attempt"`
	} `json:"timeouts"`
	Labels map[string]struct {
		Addr string `json:"addr"`
	} `json:"labels"`
}

func TestDecodeConfig(t *testing.T) {
	for _, good := range []string{"", " ", "{}", `{"name":"x"}`, `{"peers":[{"addr":"a"}]}`, "{}\n"} {
		s := settings{MaxBytes: 7}
		if err := sdk.DecodeConfig([]byte(good), &s); err != nil || s.MaxBytes != 7 {
			t.Errorf("%q: %v, %+v", good, err, s)
		}
	}
	for _, c := range []struct{ config, path, text string }{
		{`{"max_byts":1}`, "max_byts", `unknown field "max_byts": did you mean "max_bytes"?`},
		{`{"quite_another":1}`, "quite_another", `: known are max_bytes, name, peers, timeouts, labels`},
		{`{"timeouts":{"max_bytes":1}}`, "timeouts.max_bytes", `unknown field "max_bytes": known are connect, attempt`},
		{`{"timeouts":{"conect":1}}`, "timeouts.conect", `unknown field "conect": did you mean "connect"?`},
		{`{"connect":1}`, "connect", `unknown field "connect": known are max_bytes, name, peers, timeouts, labels`},
		{`{"peers":[{"addr":"a"},{"adr":"a"}]}`, "peers[1].adr", `unknown field "adr": did you mean "addr"?`},
		{`{"labels":{"b":{"addr":""},"a":{"x":1}}}`, "labels.a.x", `unknown field "x": known are addr`},
		{`{"Peers":[{"quite_another":1}]}`, "quite_another", `unknown field "quite_another"`},
		{`{"name":5}`, "name", "a number is not a string"},
		{`{"peers":[{"addr":5}]}`, "peers.addr", "a number is not a string"},
		{`{"max_bytes":"many"}`, "max_bytes", `"many" is not a size`},
		{`{"name":"a"`, "", "invalid JSON"},
		{`{}{}`, "", "unexpected data"},
		{`[]`, "", "a array is not a"},
		{`nonsense`, "", "invalid JSON"},
	} {
		err := sdk.DecodeConfig([]byte(c.config), &settings{})
		var e *storage.Error
		if !errors.As(err, &e) || e.Code != storage.InvalidArgument || e.ConfigPath != c.path || !strings.Contains(e.Error(), c.text) {
			t.Errorf("%s: %v, want %q at %q", c.config, err, c.text, c.path)
		}
	}
}

func TestSecrets(t *testing.T) {
	type peer struct {
		Addr  string `json:"addr"`
		Token string `json:"token" secret:"true"`
	}
	type config struct {
		Name   string            `json:"name"`
		Pin    int               `json:"pin,omitempty" secret:"true"`
		Not    string            `json:"not" secret:"false"`
		Peers  []peer            `json:"peers"`
		Best   *peer             `json:"best"`
		Labels map[string]string `json:"labels" secret:"true"`
		Out    string            `json:"-" secret:"true"`
	}
	want := []string{"pin", "peers[].token", "best.token", "labels"}
	if got := sdk.Secrets(&config{}); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	type endless struct {
		Next *endless `json:"next"`
		Pin  string   `json:"pin" secret:"true"`
	}
	if got := sdk.Secrets(endless{}); len(got) == 0 || len(got) > 8 {
		t.Errorf("%d paths of a struct in itself", len(got))
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]sdk.Size{
		`0`: 0, `512`: 512, `"512"`: 512, `"512B"`: 512, `"1kB"`: 1000, `"1KB"`: 1000, `"2KiB"`: 2048, `"3MB"`: 3e6, `"64MiB"`: 64 << 20,
		`"1GB"`: 1e9, `"2GiB"`: 2 << 30, `"5 MiB"`: 5 << 20,
	} {
		var s sdk.Size
		if err := s.UnmarshalJSON([]byte(text)); err != nil || s != want {
			t.Errorf("%s: %d, %v", text, s, err)
		}
	}
	for _, text := range []string{``, `""`, `"MiB"`, `-1`, `"-1MiB"`, `1.5`, `"1.5MiB"`, `"1TiBs"`, `"9999999999GiB"`, `99999999999999999999`, `true`, `{}`, `"1 M"`,
		`"010"`, `"00"`, `"010MiB"`, `"0100 kB"`} {
		var s sdk.Size
		if err := s.UnmarshalJSON([]byte(text)); err == nil {
			t.Errorf("%s is %d", text, s)
		}
	}
}

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{`0`: 0, `"0s"`: 0, `"0.5s"`: time.Second / 2, `"1.05s"`: 1050 * time.Millisecond, `"1h0m30s"`: time.Hour + 30*time.Second} {
		var d sdk.Duration
		if err := d.UnmarshalJSON([]byte(text)); err != nil || time.Duration(d) != want {
			t.Errorf("%s: %s, %v", text, d, err)
		}
	}
	for _, text := range []string{``, `""`, `30`, `"30"`, `"-1s"`, `"010s"`, `"00.5s"`, `"1h05m"`, `{}`} {
		var d sdk.Duration
		if err := d.UnmarshalJSON([]byte(text)); err == nil {
			t.Errorf("%s is %s", text, d)
		}
	}
}

func TestEnvDefaults(t *testing.T) {
	e := sdk.Env{}.WithDefaults()
	if e.Now().IsZero() {
		t.Error("no clock")
	}
	e.Log.Info("nowhere")
}
