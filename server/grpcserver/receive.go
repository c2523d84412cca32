package grpcserver

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"

	"github.com/plinthkv/plinth/internal/abi/abigrpc"
	"github.com/plinthkv/plinth/storage"
)

// parts is a stream as its transport reads it. A message that is read through it
// counts as it arrives; by RecvMsg, only once all of it is there.
type parts interface {
	ReadMessageHeader(header []byte) error
	Read(n int) (mem.BufferSlice, error)
}

// What a call costs in addition to its messages, how much of a message is read at first, and
// at most, at once.
const (
	callBytes = 4 << 10
	firstPart = 64 << 10
	mostPart  = 256 << 10
)

// receive reads the request, and gives the call its place among those that run.
func (c *call) receive(m abigrpc.Message) error {
	at := c.s.arrivals.take(c.ctx)
	if at == nil {
		return c.s.tooMany()
	}
	c.s.arrivals.wait(at, c.s.config.MessageTimeout)
	c.account.Arrive(func() {
		if e := at.end.Load(); e != nil {
			e.end()
		}
	})
	err := c.read(m)
	at.moved()
	slow := c.account.Arrived()
	c.s.arrivals.give(at)
	switch {
	case slow != nil:
		return slow
	case err != nil:
		return err
	}
	if c.slot, c.from = c.s.slots.take(c.ctx), c.s.slots; c.slot == nil {
		return c.s.tooMany()
	}
	if r, ok := m.(interface{ Err() error }); ok {
		return unreadable(r.Err())
	}
	return nil
}

func (s *Server) tooMany() error {
	e := storage.Errorf(storage.Unavailable, "too many calls at once, the limit is %d", s.config.MaxConcurrent)
	e.RetryAfter = time.Second
	return e
}

// read reads the one message of the call.
func (c *call) read(m abigrpc.Message) error {
	from, ok := grpc.ServerTransportStreamFromContext(c.ctx).(parts)
	if !ok {
		return answered(c.stream.RecvMsg(m))
	}
	var header [5]byte
	if err := from.ReadMessageHeader(header[:]); err != nil {
		if err == io.EOF {
			err = status.Error(codes.Internal, "missing message")
		}
		return answered(err)
	}
	size := int64(binary.BigEndian.Uint32(header[1:]))
	switch {
	case header[0] != 0:
		return answered(status.Error(codes.Unimplemented, "compressed messages are not supported"))
	case size > int64(c.s.config.MessageBytes):
		return answered(status.Errorf(codes.ResourceExhausted, "the message is larger than the limit (%d vs. %d)", size, c.s.config.MessageBytes))
	}
	data, err := c.readParts(from, size)
	if err != nil {
		return err
	}
	defer data.Free()
	if err := c.account.Take(c.ctx, size); err != nil { // for its parts, and for all of it as one
		return err
	}
	if err := from.ReadMessageHeader(header[:]); err != io.EOF {
		if err == nil {
			err = status.Error(codes.Internal, "more than one message")
		}
		return answered(err)
	}
	if err := c.s.codec.Unmarshal(data, m); err != nil {
		return answered(status.Errorf(codes.Internal, "invalid message: %v", err))
	}
	if c.s.stats != nil {
		c.s.stats.HandleRPC(c.ctx, &stats.InPayload{RecvTime: time.Now(), Payload: m, Length: int(size), WireLength: int(size) + len(header), CompressedLength: int(size)})
	}
	c.account.Give(size)
	return nil
}

// readParts reads so many bytes, each part once there is room for it: the caller can
// send no more than was asked for, beyond a window.
func (c *call) readParts(from parts, size int64) (data mem.BufferSlice, err error) {
	for part := int64(firstPart); size > 0; part = min(2*part, mostPart) {
		n := min(part, size)
		if err := c.account.Take(c.ctx, n); err != nil {
			data.Free()
			return nil, err
		}
		more, err := from.Read(int(n))
		if err != nil {
			data.Free()
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, answered(err)
		}
		data = append(data, more...)
		size -= n
	}
	return data, nil
}

// answered returns an error of the transport, with its status.
func answered(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := status.FromError(err); ok {
		return &received{err}
	}
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		err = status.Error(codes.Internal, err.Error())
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		err = status.FromContextError(err).Err()
	default:
		err = status.Error(codes.Unavailable, err.Error())
	}
	return &received{err}
}
