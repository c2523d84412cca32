package config_test

import (
	"strings"
	"testing"
	"time"

	"github.com/plinthkv/plinth/config"
)

type values = map[string]any

// What is made in Go is read as a file is, but for positions and references.
func TestValues(t *testing.T) {
	made := values{
		"stores": values{"sessions": values{
			"backend":  values{"plugin": "memory", "config": values{"max_bytes": config.Bytes(1 << 20)}},
			"pipeline": []any{"instrument", values{"cache": values{"ttl": config.Duration(time.Minute), "max_bytes": "1MiB"}}},
		}},
		"server": values{"token": "a${env:HOME}$$b", "limits": map[string]int{"max_ops": 7}},
	}
	cfg, err := config.Load(config.Options{File: "nowhere.yaml", Values: made, Environ: []string{"PLINTH_SERVER__LIMITS__MAX_KEYS=8", "HOME=/root"}})
	if err != nil {
		t.Fatal(err)
	}
	if s := cfg.Server; s.Token.Reveal() != "a${env:HOME}$$b" || s.Limits.MaxOps != 7 || s.Limits.MaxKeys != 8 || s.HTTP == "" {
		t.Errorf("the server is %+v", s)
	}
	if _, ok := cfg.Stores["default"]; ok || len(cfg.Stores) != 1 {
		t.Errorf("the stores are %v", cfg.Stores)
	}
	sessions := cfg.Stores["sessions"]
	var cache struct {
		TTL      config.Duration `yaml:"ttl"`
		MaxBytes config.Bytes    `yaml:"max_bytes"`
	}
	if err := sessions.Pipeline[1].Config.Decode(&cache); err != nil || time.Duration(cache.TTL) != time.Minute || cache.MaxBytes != 1<<20 {
		t.Errorf("the cache is %+v, %v", cache, err)
	}
	if raw, err := sessions.Backend.Config.JSON(); err != nil || string(raw) != `{"max_bytes":"1MiB"}` {
		t.Errorf("the backend's is %s, %v", raw, err)
	}
}

func TestValuesThatAreWrong(t *testing.T) {
	for _, c := range []struct {
		made values
		want string
	}{
		{values{"stores": values{"a": values{"backend": values{"plugin": "memory"}, "pipelin": 1}}}, "stores.a.pipelin: "},
		{values{"stores": 5}, "stores: "}, {values{"server": values{"limits": values{"max_ops": "many"}}}, "server.limits.max_ops: "},
		{values{"stores": func() {}}, "unsupported type"}, {values{"server": values{"token": ""}}, "server.token: "},
	} {
		_, err := config.Load(config.Options{Values: c.made})
		if err == nil || !strings.HasPrefix(err.Error(), c.want) && !strings.Contains(err.Error(), "the values of the configuration: json: "+c.want) {
			t.Errorf("%v: %v, want %s", c.made, err, c.want)
		}
	}
	if cfg, err := config.Load(config.Options{Values: values{}}); err != nil || cfg.Stores["default"].Backend.Plugin != "memory" {
		t.Errorf("nothing at all: %v", err)
	}
}

// The errors of a load stay with what was loaded.
func TestErr(t *testing.T) {
	cfg, err := config.Load(config.Options{Values: values{"serve": 1}})
	if err == nil || cfg == nil || cfg.Err() == nil || cfg.Err().Error() != err.Error() {
		t.Errorf("%v, %v", err, cfg.Err())
	}
	if cfg, err := config.Load(config.Options{}); err != nil || cfg.Err() != nil {
		t.Errorf("%v, %v", err, cfg.Err())
	}
}
