package grpcserver

import (
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/plinthkv/plinth/internal/abi/abigrpc"
	"github.com/plinthkv/plinth/internal/budget"
	"github.com/plinthkv/plinth/storage"
)

// service describes the service to gRPC. All its calls are of one message and one
// answer; handlers of streams serve them too, and read the message when they see
// fit.
func (s *Server) service() *grpc.ServiceDesc {
	return &grpc.ServiceDesc{ServiceName: abigrpc.Service, Metadata: abigrpc.File(), Streams: []grpc.StreamDesc{
		s.method("Get", (*call).get), s.method("GetMany", (*call).getMany), s.method("Scan", (*call).scan),
		s.method("Changes", (*call).changes), s.method("Follow", (*call).follow), s.method("Apply", (*call).apply), s.method("Health", (*call).health), s.method("Info", (*call).info),
		s.method("Close", (*call).close),
	}}
}

func (c *call) get() error {
	if err := c.receive(&c.getRequest); err != nil {
		return err
	}
	most, err := c.budget()
	if err != nil {
		return err
	}
	err = c.fetch(1, func() (n int64, err error) {
		c.item.Item, err = c.store.Backend().Get(c.ctx, c.getRequest.Key)
		return budget.ItemBytes(&c.item.Item), err
	}, func() { c.item.Item = storage.Item{} })
	if err != nil {
		return err
	}
	c.item.Key = nil
	if n := abigrpc.Size(&c.item); n > most {
		return storage.LimitError(storage.RangeLimit, "answer bytes", int64(most), int64(n))
	}
	c.item.ExpiresAt = abigrpc.Shift(c.item.ExpiresAt, -c.offset)
	return c.send(&c.item)
}

func (c *call) getMany() error {
	if err := c.receive(&c.getManyRequest); err != nil {
		return err
	}
	most, err := c.budget()
	if err != nil {
		return err
	}
	keys := c.getManyRequest.Keys
	if err := c.s.now().limits.CheckGetKeys(len(keys)); err != nil {
		return err
	}
	once := unique(keys)
	err = c.fetch(len(once), func() (n int64, err error) {
		c.items.Items, err = c.store.Backend().GetMany(c.ctx, once)
		return sizeOf(c.items.Items), err
	}, func() { c.items.Items = nil })
	if err != nil {
		return err
	}
	if len(once) < len(keys) {
		c.items.Items = repeated(keys, c.items.Items)
	}
	if n := abigrpc.Size(&c.items); n > most {
		return storage.LimitError(storage.RangeLimit, "answer bytes", int64(most), int64(n))
	}
	abigrpc.ShiftAll(c.items.Items, -c.offset)
	return c.send(&c.items)
}

func (c *call) scan() error {
	if err := c.receive(&c.scanRequest); err != nil {
		return err
	}
	most, err := c.budget()
	if err != nil {
		return err
	}
	q := c.scanRequest.Query
	if q.MaxBytes <= 0 || q.MaxBytes > pageBytes { // a page may be less than what was asked for
		q.MaxBytes = pageBytes
	}
	q.MaxBytes = min(q.MaxBytes, most)
	err = budget.FetchPage(c.ctx, c.account, c.guess(), int64(q.MaxBytes), func() (n int64, err error) {
		c.page.Page, err = c.store.Backend().Scan(c.ctx, q)
		return sizeOf(c.page.Items), err
	}, func() { c.page.Page = storage.Page{} })
	if err != nil {
		return err
	}
	if err := fit(&c.page.Page, q.Reverse, most); err != nil {
		return err
	}
	abigrpc.ShiftAll(c.page.Items, -c.offset)
	return c.send(&c.page)
}

// unique returns the keys, each once, in the order asked.
func unique(keys [][]byte) [][]byte {
	if len(keys) < 2 {
		return keys
	}
	seen := make(map[string]struct{}, len(keys))
	once := make([][]byte, 0, len(keys))
	for _, key := range keys {
		if _, asked := seen[string(key)]; !asked {
			seen[string(key)] = struct{}{}
			once = append(once, key)
		}
	}
	return once
}

// repeated returns the items as often as their keys were asked for. The repeats share
// their bytes: they are only encoded.
func repeated(keys [][]byte, items []storage.Item) []storage.Item {
	found := make(map[string]storage.Item, len(items))
	for _, it := range items {
		found[string(it.Key)] = it
	}
	items = items[:0:0]
	for _, key := range keys {
		if it, ok := found[string(key)]; ok {
			items = append(items, it)
		}
	}
	return items
}

func (c *call) apply() error {
	if err := c.receive(&c.writeSet); err != nil {
		return err
	}
	w := &c.writeSet.WriteSet
	if n := len(w.Ops) + len(w.Checks); n > c.s.now().limits.Ops {
		return storage.LimitError(storage.SizeLimit, "ops", int64(c.s.now().limits.Ops), int64(n))
	}
	if err := c.sameClock(); err != nil {
		return err
	}
	if c.offset != 0 {
		for i := range w.Ops {
			w.Ops[i].ExpiresAt = abigrpc.Shift(w.Ops[i].ExpiresAt, c.offset)
		}
	}
	if err := c.applyOnce(w); err != nil {
		return err
	}
	return c.send(&c.applied)
}

// applyOnce applies w, behind the fence if it has a time by which it is too late.
func (c *call) applyOnce(w *storage.WriteSet) error {
	until, err := c.until()
	if err != nil {
		return err
	}
	name, err := c.written()
	if err != nil {
		return err
	}
	if until == 0 || name == [16]byte{} { // it has no other attempts
		c.applied.Version, err = c.store.Apply(c.ctx, w)
		return err
	}
	k := fenceKey{c.store, name}
	if err := c.s.fence.enter(c.ctx, k); err != nil {
		return err
	}
	ended := false
	defer func() {
		if !ended { // the backend panicked
			c.s.fence.leave(k, nil, until, c.store.Now())
		}
	}()
	c.applied.Version, err = c.store.Apply(c.ctx, w)
	ended = true
	return c.s.fence.leave(k, err, until, c.store.Now())
}

func (c *call) health() error {
	var request abigrpc.HealthRequest
	if err := c.receive(&request); err != nil {
		return err
	}
	h, err := c.store.Health(c.ctx, request.Probe)
	if err != nil {
		return err
	}
	return c.send(&abigrpc.Health{Health: h})
}

// info says what is true through this server. Its header has the clock.
func (c *call) info() error {
	if err := c.receive(&abigrpc.Empty{}); err != nil {
		return err
	}
	info := c.store.Info()
	info.Limits = info.Limits.Tighten(c.s.now().limits)
	header := metadata.Pairs(abigrpc.MetaNow, strconv.FormatInt(c.store.Now().UnixMilli(), 10))
	if shared := c.s.settings.Shared; shared == nil || !shared(c.name) {
		header.Set(abigrpc.MetaInstance, c.s.instance)
	}
	if err := c.stream.SetHeader(header); err != nil {
		return &received{err}
	}
	return c.send(&abigrpc.Info{Info: info})
}

// close succeeds, and closes nothing: the store is not the caller's alone.
func (c *call) close() error {
	if err := c.receive(&abigrpc.Empty{}); err != nil {
		return err
	}
	return c.send(&abigrpc.Empty{})
}
