package abi_test

import (
	"time"

	"github.com/plinthkv/plinth/abi"
	pb "github.com/plinthkv/plinth/internal/abi/abipb"
	"github.com/plinthkv/plinth/storage"
)

// What each Go value is in the schema's own types, written out by hand: two
// fields that were swapped in both directions of the codec would show here.

func openPB(o *abi.Open) *pb.Open {
	return &pb.Open{Name: o.Name, Config: o.Config, Minor: o.Minor, Features: o.Features, MaxFrame: o.MaxFrame,
		Memory: o.Memory, Now: o.Now, Incarnation: zeroIsNone(o.Incarnation[:])}
}

func infoPB(i *storage.Info) *pb.Info {
	m := &pb.Info{Name: i.Name, Version: i.Version, Incarnation: zeroIsNone(i.Incarnation[:]), Caps: uint64(i.Caps)}
	if l := i.Limits; l != (storage.Limits{}) {
		m.Limits = &pb.Limits{Key: uint64(l.Key), Value: uint64(l.Value), Ops: uint64(l.Ops), WriteBytes: uint64(l.WriteBytes),
			GetKeys: uint64(l.GetKeys), TtlPrecisionMs: uint64(l.TTLPrecision.Milliseconds()),
			IdWindowMs: uint64(l.IDWindow.Milliseconds()), IdCount: uint64(l.IDCount),
			Changes: uint64(l.Changes), ChangesAgeMs: uint64(l.ChangesAge.Milliseconds())}
	}
	return m
}

func queryPB(q *storage.Query) *pb.ScanRequest {
	return &pb.ScanRequest{Start: q.Start, End: q.End, Limit: uint64(q.Limit), MaxBytes: uint64(q.MaxBytes),
		Reverse: q.Reverse, KeysOnly: q.KeysOnly, AtVersion: q.AtVersion}
}

func writeSetPB(w *storage.WriteSet) *pb.WriteSet {
	m := &pb.WriteSet{Id: zeroIsNone(w.ID[:])}
	for _, c := range w.Checks {
		m.Checks = append(m.Checks, &pb.Check{Kind: pb.CheckKind(c.Kind), Key: c.Key, End: c.End, Value: c.Value, Version: c.Version})
	}
	for _, o := range w.Ops {
		m.Ops = append(m.Ops, &pb.Op{Kind: pb.OpKind(o.Kind), Key: o.Key, End: o.End, Value: o.Value, ExpiresAt: millis(o.ExpiresAt)})
	}
	return m
}

func itemPB(it *storage.Item) *pb.Item {
	return &pb.Item{Key: it.Key, Value: it.Value, Version: it.Version, ExpiresAt: millis(it.ExpiresAt)}
}

func itemsPB(items []storage.Item) (list []*pb.Item) {
	for i := range items {
		list = append(list, itemPB(&items[i]))
	}
	return list
}

func pagePB(p *storage.Page) *pb.Page {
	return &pb.Page{Items: itemsPB(p.Items), Next: p.Next, Version: p.Version}
}

func changeQueryPB(q *storage.ChangeQuery) *pb.ChangesRequest {
	return &pb.ChangesRequest{Start: q.Start, End: q.End, After: q.After, FromNow: q.FromNow, Limit: uint64(q.Limit),
		MaxBytes: uint64(q.MaxBytes), WaitMs: uint64(q.Wait.Milliseconds())}
}

func changePagePB(p *storage.ChangePage) *pb.ChangePage {
	m := &pb.ChangePage{Next: p.Next}
	for _, c := range p.Changes {
		m.Changes = append(m.Changes, &pb.Change{Kind: pb.ChangeKind(c.Kind), Key: c.Key, End: c.End, Value: c.Value, ExpiresAt: millis(c.ExpiresAt), Version: c.Version})
	}
	return m
}

func healthPB(h *storage.Health) *pb.Health {
	return &pb.Health{Status: pb.Status(h.Status), Reason: h.Reason, Details: h.Details}
}

func errorPB(e *storage.Error) *pb.Error {
	m := &pb.Error{Code: pb.Code(e.Code), Op: e.Op, Layer: e.Layer, Message: e.Msg,
		RetryAfterMs: uint64(e.RetryAfter.Milliseconds()), Unknown: e.Unknown, Check: uint64(e.Check), ConfigPath: e.ConfigPath}
	if l := e.Limit; l != (storage.Limit{}) {
		m.Limit = &pb.Error_Limit{Kind: l.Kind, Max: l.Max, Actual: l.Actual}
	}
	return m
}

// millis is for times that are whole milliseconds.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
