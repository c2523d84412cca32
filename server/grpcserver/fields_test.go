package grpcserver

import (
	"log/slog"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/internal/abi/abipb"
	"github.com/plinthkv/plinth/internal/sentinel"
	"github.com/plinthkv/plinth/server"
)

// Every field of a configuration reaches gRPC's server, or the gatekeeper and limits of this
// one. Those that each call looks up have tests of their own, which are named.
func TestNoFieldIsForgotten(t *testing.T) {
	base := Config{Listener: server.Listener{Address: "127.0.0.1:0"}}
	base.defaults()
	others := map[string]any{"Address": "127.0.0.1:1", "MaxAge": time.Hour, "MessageBytes": 1 << 20}
	for _, c := range []struct {
		name string
		made func(*Server) any
		want []string // the fields that it does not have
	}{
		{"gRPC's server", optionsOf, []string{"Address", "Cert", "ClientCA", "Key", "MaxKeys", "MaxOps",
			"MessageTimeout", "ShutdownDelay", "Token", "WriteTimeout"}}, // MessageTimeout, WriteTimeout: TestCallersThatDoNotMove
		{"the server", func(s *Server) any {
			return []any{s.config.gatekeeper(), s.now().limits, s.slots.free, s.arrivals.free}
		},
			[]string{"HeaderBytes", "HeaderTimeout", "IdleTimeout", "MaxAge", "MessageTimeout", "ShutdownDelay", "ShutdownTimeout", "WriteTimeout"}},
	} {
		got := sentinel.Ignored(base, others, func(config Config) any {
			files := config.Listener
			config.Cert, config.Key, config.ClientCA = "", "", "" // there are no such files
			s, err := New(config, Settings{Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			s.config.Listener = files
			return c.made(s)
		})
		if !slices.Equal(got, c.want) {
			t.Errorf("%s does not have %q, want %q", c.name, got, c.want)
		}
	}
}

// optionsOf are those that gRPC's server was made with.
func optionsOf(s *Server) any {
	srv := s.grpcServer()
	defer srv.Stop()
	made := reflect.ValueOf(srv).Elem().FieldByName("opts")
	var opts []string
	for _, of := range []string{"maxReceiveMessageSize", "maxConcurrentStreams", "maxHeaderListSize", "connectionTimeout", "keepaliveParams"} {
		opts = append(opts, sentinel.Print(made.FieldByName(of)))
	}
	return opts
}

// Every method of the service is served, but for those of subprocesses.
func TestMethods(t *testing.T) {
	var served, want []string
	for _, m := range (&Server{}).service().Streams {
		served = append(served, m.StreamName)
	}
	methods := abipb.File_plinth_backend_v1_backend_proto.Services().ByName("Backend").Methods()
	for i := range methods.Len() {
		if name := string(methods.Get(i).Name()); name != "Open" && name != "Try" && name != "Attach" {
			want = append(want, name)
		}
	}
	if !slices.Equal(served, want) {
		t.Errorf("%q are served, want %q", served, want)
	}
}

// What is silent in a configuration has the default that its comment says.
func TestDefaults(t *testing.T) {
	var c Config
	c.defaults()
	want := Config{Listener: server.Listener{}.WithDefaults(), MessageTimeout: time.Minute, MaxAge: math.MaxInt64, MessageBytes: 64 << 20}
	if !reflect.DeepEqual(c, want) || abi.DefaultMaxFrame != 64<<20 {
		t.Errorf("the defaults are %+v, want %+v", c, want)
	}
}
