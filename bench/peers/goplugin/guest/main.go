//go:build wasip1

// The guest of knqyf263/go-plugin: a map behind its generated service.
package main

import (
	"context"

	"github.com/plinthkv/plinth/bench/peers/goplugin/kvpb"
)

func main() {}

func init() { kvpb.RegisterKV(&store{items: map[string][]byte{}}) }

type store struct{ items map[string][]byte }

func (s *store) Get(_ context.Context, r *kvpb.GetRequest) (*kvpb.GetReply, error) {
	v, ok := s.items[string(r.Key)]
	return &kvpb.GetReply{Found: ok, Value: v}, nil
}

func (s *store) Set(_ context.Context, r *kvpb.SetRequest) (*kvpb.SetReply, error) {
	s.items[string(r.Key)] = append([]byte(nil), r.Value...)
	return &kvpb.SetReply{}, nil
}
