package abigrpc

import (
	"google.golang.org/grpc/mem"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/storage"
)

// held is the buffer that a request is views of.
type held struct {
	buffer mem.Buffer
	err    error
}

func (h *held) hold(b mem.Buffer) {
	h.Free()
	h.buffer = b
}

// Err returns why a received request cannot be read. gRPC does not see this error, because it
// would answer without an Error.
func (h *held) Err() error { return h.err }

func (h *held) failed(err error) { h.err = err }

// Free gives the buffer of a request that was received back. What the request
// holds must not be used any more.
func (h *held) Free() {
	if h.buffer != nil {
		h.buffer.Free()
		h.buffer = nil
	}
}

// perField estimates what a tag, a length and the numbers of a message take.
const perField = 48

// Open carries the first request to a subprocess.
type Open struct{ abi.Open }

func (m *Open) size() int                { return 3*perField + len(m.Name) + len(m.Config) }
func (m *Open) append(dst []byte) []byte { return abi.AppendOpen(dst, &m.Open) }
func (m *Open) decode(b []byte) error    { return abi.DecodeOpen(b, &m.Open) }

// Raw holds a message as it is on the wire, to be passed on.
type Raw struct{ Bytes []byte }

func (m *Raw) size() int                { return len(m.Bytes) }
func (m *Raw) append(dst []byte) []byte { return append(dst, m.Bytes...) }

func (m *Raw) decode(b []byte) error {
	m.Bytes = b
	return nil
}

// GetRequest asks for one key.
type GetRequest struct {
	held
	Key []byte
}

func (m *GetRequest) size() int                { return perField + len(m.Key) }
func (m *GetRequest) append(dst []byte) []byte { return abi.AppendGet(dst, m.Key) }

func (m *GetRequest) decode(b []byte) (err error) {
	m.Key, err = abi.DecodeGet(b)
	return err
}

// Item carries the answer of a Get.
type Item struct{ storage.Item }

func (m *Item) size() int                { return perField + len(m.Key) + len(m.Value) }
func (m *Item) append(dst []byte) []byte { return abi.AppendItem(dst, &m.Item) }
func (m *Item) decode(b []byte) error    { return abi.DecodeItem(b, &m.Item) }

// GetManyRequest asks for several keys.
type GetManyRequest struct {
	held
	Keys [][]byte
}

func (m *GetManyRequest) size() int {
	n := perField
	for _, key := range m.Keys {
		n += len(key) + 11
	}
	return n
}

func (m *GetManyRequest) append(dst []byte) []byte { return abi.AppendGetMany(dst, m.Keys) }

func (m *GetManyRequest) decode(b []byte) (err error) {
	m.Keys, err = abi.DecodeGetMany(b, m.Keys[:0])
	return err
}

// Items carries the answer of a GetMany.
type Items struct{ Items []storage.Item }

func (m *Items) size() int                { return sizeItems(m.Items) }
func (m *Items) append(dst []byte) []byte { return abi.AppendItems(dst, m.Items) }

func (m *Items) decode(b []byte) (err error) {
	m.Items, err = abi.DecodeItems(b, m.Items[:0])
	return err
}

func sizeItems(items []storage.Item) int {
	n := perField
	for i := range items {
		n += abi.ItemSize(&items[i])
	}
	return n
}

// ScanRequest asks for a page.
type ScanRequest struct {
	held
	Query storage.Query
}

func (m *ScanRequest) size() int                { return 2*perField + len(m.Query.Start) + len(m.Query.End) }
func (m *ScanRequest) append(dst []byte) []byte { return abi.AppendQuery(dst, &m.Query) }
func (m *ScanRequest) decode(b []byte) error    { return abi.DecodeQuery(b, &m.Query) }

// Page carries the answer of a Scan.
type Page struct{ storage.Page }

func (m *Page) size() int                { return sizeItems(m.Items) + len(m.Next) }
func (m *Page) append(dst []byte) []byte { return abi.AppendPage(dst, &m.Page) }
func (m *Page) decode(b []byte) error    { return abi.DecodePage(b, &m.Page) }

// WriteSet carries the request of an Apply.
type WriteSet struct {
	held
	storage.WriteSet
}

func (m *WriteSet) size() int {
	n := perField
	for i := range m.Ops {
		o := &m.Ops[i]
		n += perField + len(o.Key) + len(o.End) + len(o.Value)
	}
	for i := range m.Checks {
		c := &m.Checks[i]
		n += perField + len(c.Key) + len(c.End) + len(c.Value)
	}
	return n
}

func (m *WriteSet) append(dst []byte) []byte { return abi.AppendWriteSet(dst, &m.WriteSet) }
func (m *WriteSet) decode(b []byte) error    { return abi.DecodeWriteSet(b, &m.WriteSet) }

// ChangesRequest asks for a page of changes.
type ChangesRequest struct {
	held
	Query storage.ChangeQuery
}

func (m *ChangesRequest) size() int                { return 2*perField + len(m.Query.Start) + len(m.Query.End) }
func (m *ChangesRequest) append(dst []byte) []byte { return abi.AppendChangeQuery(dst, &m.Query) }

func (m *ChangesRequest) decode(b []byte) error { return abi.DecodeChangeQuery(b, &m.Query) }

// ChangePage carries the answer of Changes.
type ChangePage struct{ storage.ChangePage }

func (m *ChangePage) size() int                { return abi.ChangePageSize(&m.ChangePage) }
func (m *ChangePage) append(dst []byte) []byte { return abi.AppendChangePage(dst, &m.ChangePage) }
func (m *ChangePage) decode(b []byte) error    { return abi.DecodeChangePage(b, &m.ChangePage) }

// ApplyResponse carries the answer of an Apply.
type ApplyResponse struct{ Version uint64 }

func (m *ApplyResponse) size() int                { return 11 }
func (m *ApplyResponse) append(dst []byte) []byte { return abi.AppendVersion(dst, m.Version) }

func (m *ApplyResponse) decode(b []byte) (err error) {
	m.Version, err = abi.DecodeVersion(b)
	return err
}

// HealthRequest asks for a health check.
type HealthRequest struct {
	held
	Probe storage.Probe
}

func (m *HealthRequest) size() int                { return 2 }
func (m *HealthRequest) append(dst []byte) []byte { return abi.AppendProbe(dst, m.Probe) }

func (m *HealthRequest) decode(b []byte) (err error) {
	m.Probe, err = abi.DecodeProbe(b)
	return err
}

// Health carries the answer of a health check.
type Health struct{ storage.Health }

func (m *Health) size() int                { return 1 << 10 }
func (m *Health) append(dst []byte) []byte { return abi.AppendHealth(dst, &m.Health) }
func (m *Health) decode(b []byte) error    { return abi.DecodeHealth(b, &m.Health) }

// Info carries the answer of an Info.
type Info struct{ storage.Info }

func (m *Info) size() int                { return 2*perField + len(m.Name) + len(m.Version) }
func (m *Info) append(dst []byte) []byte { return abi.AppendInfo(dst, &m.Info) }
func (m *Info) decode(b []byte) error    { return abi.DecodeInfo(b, &m.Info) }

// Empty is a message without fields: the requests of Info and Close, and the
// answer of Close.
type Empty struct{}

func (*Empty) size() int                { return 0 }
func (*Empty) append(dst []byte) []byte { return dst }
func (*Empty) decode([]byte) error      { return nil }

// Size estimates how many bytes a message has on the wire, never too few.
func Size(m Message) int { return m.size() }
