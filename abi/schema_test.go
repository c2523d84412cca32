package abi_test

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/plinthkv/plinth/abi"
	pb "github.com/plinthkv/plinth/internal/abi/abipb"
	"github.com/plinthkv/plinth/storage"
)

// The generated codec is what the hand-written one is measured by. This file
// says where ours differs on purpose: it refuses more (stricter), and it keeps
// some values otherwise (kept).

// codec is one message in both codecs.
type codec struct {
	name  string
	empty proto.Message
	// again decodes b by hand, in a fresh value, and appends it to dst.
	again func(dst, b []byte) ([]byte, error)
}

// codecs are all messages but Error, whose decoder never fails.
var codecs = []codec{
	{"Open", &pb.Open{}, func(dst, b []byte) ([]byte, error) {
		var o abi.Open
		err := abi.DecodeOpen(b, &o)
		return abi.AppendOpen(dst, &o), err
	}},
	{"Info", &pb.Info{}, func(dst, b []byte) ([]byte, error) {
		var i storage.Info
		err := abi.DecodeInfo(b, &i)
		return abi.AppendInfo(dst, &i), err
	}},
	{"Get", &pb.GetRequest{}, func(dst, b []byte) ([]byte, error) {
		key, err := abi.DecodeGet(b)
		return abi.AppendGet(dst, key), err
	}},
	{"GetMany", &pb.GetManyRequest{}, func(dst, b []byte) ([]byte, error) {
		keys, err := abi.DecodeGetMany(b, nil)
		return abi.AppendGetMany(dst, keys), err
	}},
	{"Query", &pb.ScanRequest{}, func(dst, b []byte) ([]byte, error) {
		var q storage.Query
		err := abi.DecodeQuery(b, &q)
		return abi.AppendQuery(dst, &q), err
	}},
	{"WriteSet", &pb.WriteSet{}, func(dst, b []byte) ([]byte, error) {
		var w storage.WriteSet
		err := abi.DecodeWriteSet(b, &w)
		return abi.AppendWriteSet(dst, &w), err
	}},
	{"Item", &pb.Item{}, func(dst, b []byte) ([]byte, error) {
		var it storage.Item
		err := abi.DecodeItem(b, &it)
		return abi.AppendItem(dst, &it), err
	}},
	{"Items", &pb.Items{}, func(dst, b []byte) ([]byte, error) {
		items, err := abi.DecodeItems(b, nil)
		return abi.AppendItems(dst, items), err
	}},
	{"Page", &pb.Page{}, func(dst, b []byte) ([]byte, error) {
		var p storage.Page
		err := abi.DecodePage(b, &p)
		return abi.AppendPage(dst, &p), err
	}},
	{"ChangeQuery", &pb.ChangesRequest{}, func(dst, b []byte) ([]byte, error) {
		var q storage.ChangeQuery
		err := abi.DecodeChangeQuery(b, &q)
		return abi.AppendChangeQuery(dst, &q), err
	}},
	{"ChangePage", &pb.ChangePage{}, func(dst, b []byte) ([]byte, error) {
		var p storage.ChangePage
		err := abi.DecodeChangePage(b, &p)
		return abi.AppendChangePage(dst, &p), err
	}},
	{"Version", &pb.ApplyResponse{}, func(dst, b []byte) ([]byte, error) {
		v, err := abi.DecodeVersion(b)
		return abi.AppendVersion(dst, v), err
	}},
	{"Probe", &pb.HealthRequest{}, func(dst, b []byte) ([]byte, error) {
		p, err := abi.DecodeProbe(b)
		return abi.AppendProbe(dst, p), err
	}},
	{"Health", &pb.Health{}, func(dst, b []byte) ([]byte, error) {
		var h storage.Health
		err := abi.DecodeHealth(b, &h)
		return abi.AppendHealth(dst, &h), err
	}},
}

func codecNamed(t testing.TB, name string) codec {
	for _, c := range codecs {
		if c.name == name {
			return c
		}
	}
	t.Fatalf("no codec is called %s", name)
	return codec{}
}

// compare fails t unless both codecs make the same of b.
func (c codec) compare(t *testing.T, b []byte) {
	t.Helper()
	byHand, err := c.again(nil, b)
	if err != nil {
		var e *storage.Error
		if !errors.As(err, &e) || e.Code != storage.Serialization && e.Code != storage.InvalidArgument && e.Code != storage.SizeLimit {
			t.Fatalf("%s of %x: an error of the wrong kind: %v", c.name, b, err)
		}
	}
	generated, refused := c.expect(b)
	switch {
	case (err == nil) != (refused == nil):
		t.Fatalf("%s of %x: the codec says %v, the schema %v", c.name, b, err, refused)
	case err == nil && string(byHand) != string(generated):
		t.Fatalf("%s of %x: the codec read %x, the schema %x", c.name, b, byHand, generated)
	}
}

// expect is what should come of b: the generated codec's reading of it, within
// our rules, encoded again.
func (c codec) expect(b []byte) ([]byte, error) {
	m := proto.Clone(c.empty)
	if err := proto.Unmarshal(b, m); err != nil {
		return nil, err
	}
	if err := stricter(b, m.ProtoReflect().Descriptor()); err != nil {
		return nil, err
	}
	kept(m)
	return proto.MarshalOptions{Deterministic: true}.Marshal(m)
}

// stricter is what the hand-written codec refuses and the generated one does
// not: known fields of another wire type, groups, and what rules names.
func stricter(b []byte, d protoreflect.MessageDescriptor) error {
	elements, details := 0, 0
	for len(b) > 0 {
		num, wire, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		if wire == protowire.StartGroupType || wire == protowire.EndGroupType {
			return fmt.Errorf("field %d is a group", num)
		}
		n = protowire.ConsumeFieldValue(num, wire, b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		value := b[:n]
		b = b[n:]
		f := d.Fields().ByNumber(num)
		if f == nil {
			continue
		}
		if wire != wireOf(f) {
			return fmt.Errorf("%s has the wire type %d", f.FullName(), wire)
		}
		if f.IsMap() {
			details++
		} else if f.IsList() {
			elements++
		}
		if rule := rules[f.FullName()]; rule != nil {
			if err := rule(value); err != nil {
				return fmt.Errorf("%s: %w", f.FullName(), err)
			}
		}
		if f.Message() != nil {
			inner, _ := protowire.ConsumeBytes(value)
			if err := stricter(inner, f.Message()); err != nil {
				return err
			}
		}
	}
	if elements > abi.MaxElements || details > abi.MaxDetails {
		return errors.New("too many elements")
	}
	return nil
}

func wireOf(f protoreflect.FieldDescriptor) protowire.Type {
	switch f.Kind() {
	case protoreflect.BytesKind, protoreflect.StringKind, protoreflect.MessageKind:
		return protowire.BytesType
	default:
		return protowire.VarintType
	}
}

// rules are what single fields may not hold.
var rules = map[protoreflect.FullName]func(value []byte) error{
	"plinth.backend.v1.Open.now":            notNegative,
	"plinth.backend.v1.Open.incarnation":    sixteen,
	"plinth.backend.v1.Info.incarnation":    sixteen,
	"plinth.backend.v1.Item.expires_at":     notNegative,
	"plinth.backend.v1.Op.expires_at":       notNegative,
	"plinth.backend.v1.WriteSet.id":         sixteen,
	"plinth.backend.v1.Change.kind":         small,
	"plinth.backend.v1.Change.expires_at":   notNegative,
	"plinth.backend.v1.Check.kind":          small,
	"plinth.backend.v1.Op.kind":             small,
	"plinth.backend.v1.HealthRequest.probe": small,
}

func notNegative(value []byte) error {
	if v, _ := protowire.ConsumeVarint(value); int64(v) < 0 {
		return errors.New("negative")
	}
	return nil
}

func sixteen(value []byte) error {
	if v, _ := protowire.ConsumeBytes(value); len(v) != 0 && len(v) != 16 {
		return errors.New("not 16 bytes")
	}
	return nil
}

func small(value []byte) error {
	if v, _ := protowire.ConsumeVarint(value); uint32(v) > math.MaxUint8 {
		return errors.New("above 255")
	}
	return nil
}

// The largest that the Go types behind some fields hold.
const (
	lastMillisecond  = 253402300799999             // of the year 9999
	longestPrecision = math.MaxInt64/1_000_000 + 1 // ms, rounded up
	longestWindow    = math.MaxInt64 / 1_000_000   // ms, rounded down
)

// kept turns what the generated codec read into what the hand-written one keeps
// of it, and drops unknown fields.
func kept(m proto.Message) {
	m.ProtoReflect().SetUnknown(nil)
	switch m := m.(type) {
	case *pb.Open:
		m.Incarnation = zeroIsNone(m.Incarnation)
	case *pb.Info:
		m.Incarnation = zeroIsNone(m.Incarnation)
		if l := m.Limits; l != nil {
			l.ProtoReflect().SetUnknown(nil)
			for _, v := range []*uint64{&l.Key, &l.Value, &l.Ops, &l.WriteBytes, &l.GetKeys, &l.IdCount, &l.Changes} {
				*v = min(*v, math.MaxInt)
			}
			l.TtlPrecisionMs = atMost(l.TtlPrecisionMs, longestWindow, longestPrecision)
			l.IdWindowMs, l.ChangesAgeMs = min(l.IdWindowMs, longestWindow), min(l.ChangesAgeMs, longestWindow)
			if proto.Equal(l, &pb.Limits{}) {
				m.Limits = nil
			}
		}
	case *pb.ScanRequest:
		m.Limit, m.MaxBytes = min(m.Limit, math.MaxInt), min(m.MaxBytes, math.MaxInt)
	case *pb.ChangesRequest:
		m.Limit, m.MaxBytes = min(m.Limit, math.MaxInt), min(m.MaxBytes, math.MaxInt)
		m.WaitMs = atMost(m.WaitMs, longestWindow, longestPrecision)
	case *pb.ChangePage:
		for _, c := range m.Changes {
			c.ProtoReflect().SetUnknown(nil)
			c.ExpiresAt = keptExpiry(c.ExpiresAt)
		}
	case *pb.WriteSet:
		m.Id = zeroIsNone(m.Id)
		for _, c := range m.Checks {
			c.ProtoReflect().SetUnknown(nil)
		}
		for _, o := range m.Ops {
			o.ProtoReflect().SetUnknown(nil)
			o.ExpiresAt = keptExpiry(o.ExpiresAt)
		}
	case *pb.Item:
		m.ExpiresAt = keptExpiry(m.ExpiresAt)
	case *pb.Items:
		for _, it := range m.Items {
			kept(it)
		}
	case *pb.Page:
		for _, it := range m.Items {
			kept(it)
		}
	case *pb.Health:
		if m.Status < pb.Status_STATUS_HEALTHY || m.Status > pb.Status_STATUS_UNHEALTHY {
			m.Status = pb.Status_STATUS_UNHEALTHY
		}
	}
}

// atMost is v, and most for everything above limit.
func atMost(v, limit, most uint64) uint64 {
	if v > limit {
		return most
	}
	return v
}

func keptExpiry(ms int64) int64 {
	if ms > lastMillisecond {
		return 0
	}
	return ms
}

func zeroIsNone(id []byte) []byte {
	if string(id) == string(make([]byte, 16)) {
		return nil
	}
	return id
}
