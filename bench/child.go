package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	netrpc "net/rpc"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk/process"
)

// asChild says to this program what it is in a process of its own.
const asChild = "PLINTH_BENCH_CHILD"

// child runs the other side of a row, if this process was started as one: then it does not
// return.
func child() {
	var err error
	switch os.Getenv(asChild) {
	case "":
		return
	case "memory":
		process.Serve(memory.Open)
	case "burn":
		for end := time.Now().Add(10 * time.Minute); time.Now().Before(end); { // if no one ends it
		}
	case "raw":
		err = rawChild()
	case "gRPC", "net/rpc":
		bareChild(os.Getenv(asChild) == "gRPC")
	default:
		err = errors.New("no such child")
	}
	if err != nil {
		fatal(err)
	}
	os.Exit(0)
}

// items returns what bare children hold.
func items() map[string][]byte {
	m := make(map[string][]byte, keyCount)
	for _, k := range keys {
		m[string(k)] = value
	}
	return m
}

// rawChild answers each key with its value, a goroutine for each connection.
func rawChild() error {
	l, err := net.Listen("unix", os.Args[1])
	if err != nil {
		return err
	}
	fmt.Println("ready")
	held := items()
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			key, answer := make([]byte, len(keys[0])), make([]byte, 4+len(value))
			for {
				if _, err := io.ReadFull(c, key); err != nil {
					return
				}
				v := held[string(key)]
				binary.LittleEndian.PutUint32(answer, uint32(len(v)))
				if _, err := c.Write(append(answer[:4], v...)); err != nil {
					return
				}
			}
		}()
	}
}

var bareHandshake = plugin.HandshakeConfig{ProtocolVersion: 1, MagicCookieKey: "PLINTH_BENCH", MagicCookieValue: "bare"}

// bareChild runs go-plugin and nothing else.
func bareChild(overGRPC bool) {
	c := &plugin.ServeConfig{HandshakeConfig: bareHandshake, Logger: hclog.NewNullLogger(), Plugins: plugin.PluginSet{"kv": &bareRPC{held: items()}}}
	if overGRPC {
		c.Plugins, c.GRPCServer = plugin.PluginSet{"kv": &bareGRPC{held: items()}}, plugin.DefaultGRPCServer
	}
	plugin.Serve(c)
}

// bareGRPC is one unary call over gRPC.
type bareGRPC struct {
	plugin.NetRPCUnsupportedPlugin
	held map[string][]byte
}

const bareGet = "/bench.KV/Get"

func (p *bareGRPC) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	s.RegisterService(&grpc.ServiceDesc{ServiceName: "bench.KV", Methods: []grpc.MethodDesc{
		{MethodName: "Get", Handler: func(_ any, _ context.Context, read func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			var key wrapperspb.BytesValue
			if err := read(&key); err != nil {
				return nil, err
			}
			return wrapperspb.Bytes(p.held[string(key.Value)]), nil
		}},
	}}, nil)
	return nil
}

func (p *bareGRPC) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, c *grpc.ClientConn) (any, error) {
	return c, nil
}

// bareRPC is one call of net/rpc.
type bareRPC struct{ held map[string][]byte }

// Get answers the call.
func (p *bareRPC) Get(key []byte, answer *[]byte) error {
	*answer = p.held[string(key)]
	return nil
}

func (p *bareRPC) Server(*plugin.MuxBroker) (any, error) { return p, nil }

func (p *bareRPC) Client(_ *plugin.MuxBroker, c *netrpc.Client) (any, error) { return c, nil }
