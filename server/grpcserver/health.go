package grpcserver

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/plinthkv/plinth/internal/abi/abigrpc"
	"github.com/plinthkv/plinth/storage"
)

// The time that a probe of a store may take, the interval of updates to watchers, and the
// maximum number of watchers.
const (
	healthTimeout = 2 * time.Second
	healthEvery   = time.Second
	maxWatchers   = 64
)

// health implements grpc.health.v1.Health: for the whole server, named "" or by the
// service, without a token, as probes do not need one; and for each store by its name,
// with a token.
type health struct {
	healthpb.UnimplementedHealthServer
	s *Server
}

// Check says how a store is now, or all of them.
func (h health) Check(ctx context.Context, r *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	if err := h.admit(ctx, r.GetService()); err != nil {
		return nil, err
	}
	st := h.status(ctx, r.GetService())
	if st == healthpb.HealthCheckResponse_SERVICE_UNKNOWN {
		return nil, status.Errorf(codes.NotFound, "unknown store")
	}
	return &healthpb.HealthCheckResponse{Status: st}, nil
}

// List says how all of them are.
func (h health) List(ctx context.Context, _ *healthpb.HealthListRequest) (*healthpb.HealthListResponse, error) {
	if h.s.admit(ctx) != nil { // of all together, and no names
		return &healthpb.HealthListResponse{Statuses: map[string]*healthpb.HealthCheckResponse{"": {Status: h.status(ctx, "")}}}, nil
	}
	answer := &healthpb.HealthListResponse{Statuses: map[string]*healthpb.HealthCheckResponse{}}
	var mu sync.Mutex
	var asked sync.WaitGroup
	for name := range h.s.now().stores {
		asked.Go(func() {
			st := h.status(ctx, name)
			mu.Lock()
			defer mu.Unlock()
			answer.Statuses[name] = &healthpb.HealthCheckResponse{Status: st}
		})
	}
	asked.Wait()
	all := healthpb.HealthCheckResponse_SERVING
	for _, one := range answer.Statuses {
		if one.Status != all {
			all = healthpb.HealthCheckResponse_NOT_SERVING
			break
		}
	}
	answer.Statuses[""] = &healthpb.HealthCheckResponse{Status: all}
	return answer, nil
}

// Watch says how a store is, and again whenever that has changed, until the
// caller leaves or the server ends.
func (h health) Watch(r *healthpb.HealthCheckRequest, stream grpc.ServerStreamingServer[healthpb.HealthCheckResponse]) error {
	if err := h.admit(stream.Context(), r.GetService()); err != nil {
		return err
	}
	defer h.s.watchers.Add(-1)
	if h.s.watchers.Add(1) > maxWatchers {
		return status.Errorf(codes.ResourceExhausted, "too many health watches at once, the limit is %d", maxWatchers)
	}
	ticker := time.NewTicker(healthEvery)
	defer ticker.Stop()
	told := healthpb.HealthCheckResponse_UNKNOWN
	for {
		if now := h.status(stream.Context(), r.GetService()); now != told {
			if told = now; stream.Context().Err() == nil {
				if err := stream.Send(&healthpb.HealthCheckResponse{Status: now}); err != nil {
					return err
				}
			}
		}
		if h.s.isDraining() {
			return status.Error(codes.Unavailable, "shutting down")
		}
		select {
		case <-ticker.C:
		case <-h.s.draining:
		case <-stream.Context().Done():
			return status.FromContextError(stream.Context().Err()).Err()
		}
	}
}

// admit refuses those who ask for a store by its name, whether there is one or not,
// and have no token.
func (h health) admit(ctx context.Context, service string) error {
	if service == "" || service == abigrpc.Service {
		return nil
	}
	return abigrpc.ToStatus(h.s.admit(ctx))
}

func (s *Server) isDraining() bool {
	select {
	case <-s.draining:
		return true
	default:
		return false
	}
}

// status asks one store, or all of them.
func (h health) status(ctx context.Context, service string) healthpb.HealthCheckResponse_ServingStatus {
	var asked []*storage.Store
	if store, ok := h.s.now().stores[service]; ok {
		asked = append(asked, store)
	} else if service == "" || service == abigrpc.Service {
		for _, store := range h.s.now().stores {
			asked = append(asked, store)
		}
	} else {
		return healthpb.HealthCheckResponse_SERVICE_UNKNOWN
	}
	if h.s.isDraining() {
		return healthpb.HealthCheckResponse_NOT_SERVING
	}
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	answers := make(chan bool, len(asked))
	for _, store := range asked {
		go func() {
			is, err := store.Health(ctx, storage.Readiness)
			answers <- err == nil && (is.Status == storage.Healthy || is.Status == storage.Degraded)
		}()
	}
	for range asked {
		select {
		case well := <-answers:
			if well {
				continue
			}
		case <-ctx.Done(): // a backend that does not heed it is not waited for
		}
		return healthpb.HealthCheckResponse_NOT_SERVING
	}
	return healthpb.HealthCheckResponse_SERVING
}

// streams admits only callers with the token to reflection, and ends it with the server:
// a caller could otherwise delay the shutdown indefinitely.
func (s *Server) streams(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if info.FullMethod == healthpb.Health_Watch_FullMethodName {
		return handler(srv, stream)
	}
	if err := s.admit(stream.Context()); err != nil {
		return abigrpc.ToStatus(err)
	}
	slot := s.slots.take(stream.Context())
	if slot == nil {
		return abigrpc.ToStatus(s.tooMany())
	}
	defer s.slots.give(slot)
	ended := make(chan error, 1)
	go func() { ended <- handler(srv, stream) }()
	idle := time.NewTimer(s.config.MessageTimeout)
	defer idle.Stop()
	select {
	case err := <-ended:
		return err
	case <-s.draining:
		return status.Error(codes.Unavailable, "shutting down")
	case <-idle.C:
		return status.Error(codes.DeadlineExceeded, "the stream reached its maximum duration")
	}
}
