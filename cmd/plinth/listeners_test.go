package main

import (
	"slices"
	"testing"

	"github.com/plinthkv/plinth/config"
	"github.com/plinthkv/plinth/internal/sentinel"
)

// Every setting of server reaches the servers, each but what is for the other.
func TestNoSettingIsForgotten(t *testing.T) {
	for _, c := range []struct {
		name string
		made func(config.Server) any
		want []string // the settings that it does not have
	}{
		{"http", func(c config.Server) any { return serverConfig(c) }, []string{"GRPC", "Limits.Memory", "Limits.Message", "Probes"}},
		{"grpc", func(c config.Server) any { return grpcConfig(c) }, []string{"AdminToken", "HTTP", "Hosts", "Limits.Body", "Limits.Memory", "Probes"}},
		{"probes", func(c config.Server) any { return probesConfig(c) }, []string{"AdminToken", "GRPC", "HTTP", "Limits.Body", "Limits.Memory", "Limits.Message"}},
	} {
		if got := sentinel.Ignored(config.Server{}, nil, c.made); !slices.Equal(got, c.want) {
			t.Errorf("%s does not have %q, want %q", c.name, got, c.want)
		}
	}
	both := func(c config.Server) any { return memoryOf(c) }
	if slices.Contains(sentinel.Ignored(config.Server{Limits: config.ServerLimits{Memory: 1 << 20}}, map[string]any{"Limits.Memory": 2 << 20}, both), "Limits.Memory") {
		t.Error("limits.memory bounds nothing")
	}
}
