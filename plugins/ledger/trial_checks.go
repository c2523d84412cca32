package ledger

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/plinthkv/plinth/internal/ledger/ledgerpb"
	"github.com/plinthkv/plinth/storage"
)

// trials lists the checks, in their order. A check returns what it could not find out,
// or an error if the cluster is not as the backend assumes.
var trials = []struct {
	name string
	run  func(*trial, context.Context) (note string, err error)
}{
	{"reads see what was written", (*trial).roundTrip},
	{"the largest key and value are accepted, larger ones refused", (*trial).largest},
	{"values of max_value are stored wherever they come to lie", (*trial).sizes},
	{"checks are judged, and all of a write set happens or nothing", (*trial).checks},
	{"ranges are whole and in order", (*trial).ranges},
	{"items expire, and their neighbors stay", (*trial).expiry},
	{"a range of more than a write takes is cleared in pieces", (*trial).clear},
	{"a write that is repeated is done once", (*trial).repeats},
	{"the heights of reads and writes are of one kind", (*trial).heights},
	{"every node answers reads of what was just written", (*trial).everyNode},
	{"a node that does not lead says who does", (*trial).redirects},
	{"slugs that do not exist are refused", (*trial).slugs},
}

func (r *trial) roundTrip(ctx context.Context) (string, error) {
	for _, value := range [][]byte{[]byte("v"), {}, {0, 0xFF, 0}, bytes.Repeat([]byte("v"), 1_000)} {
		if err := r.s.Set(ctx, r.key("k\x00\xff"), value); err != nil {
			return "", err
		}
		if err := r.want(ctx, "k\x00\xff", value); err != nil {
			return "", err
		}
	}
	for range 2 { // the second time it is gone already
		if err := r.s.Delete(ctx, r.key("k\x00\xff")); err != nil {
			return "", err
		}
	}
	return "", r.want(ctx, "k\x00\xff", nil)
}

func (r *trial) largest(ctx context.Context) (string, error) {
	l := r.b.Info().Limits
	name := strings.Repeat("k", l.Key-len(r.prefix))
	value := bytes.Repeat([]byte("v"), l.Value)
	if err := r.s.Set(ctx, r.key(name), value); err != nil {
		return "", err
	}
	if err := r.want(ctx, name, value); err != nil {
		return "", err
	}
	if err := r.s.Delete(ctx, r.key(name)); err != nil {
		return "", err
	}
	err := r.s.Set(ctx, r.key(name+"k"), nil)
	return "", errors.Join(wantCode("a longer key", err, storage.SizeLimit), wantCode("a larger value", r.s.Set(ctx, r.key("k"), append(value, 'v')), storage.SizeLimit))
}

// How many items of a size must be stored for it to count, and the largest size that is
// tried.
const (
	sizeTries = 8
	sizeMost  = 64 << 10
)

// sizes finds the largest value of which several are stored, by bisection.
func (r *trial) sizes(ctx context.Context) (string, error) {
	low, high := 0, sizeMost+1 // low is stored, high is not
	var words string
	for n := 0; high-low > 1; n++ {
		size := (low + high) / 2
		stored := true
		for i := 0; i < sizeTries && stored; i++ {
			answer, err := r.sent(ctx, []byte(fmt.Sprintf("%ssize/%d/%d", r.prefix, n, i)), nil, string(make([]byte, size)))
			if err != nil {
				return "", err
			}
			if e := answer.GetError(); e != nil {
				stored, words = false, fmt.Sprintf("%.80q", e.Message)
			}
		}
		if stored {
			low = size
		} else {
			high = size
		}
	}
	if low < r.b.info.Load().Limits.Value {
		return "", fmt.Errorf("values of up to %d bytes are stored, max_value is %d; the server refuses larger ones with %s", low, r.Config.MaxValue, words)
	}
	if r.seen = fmt.Sprintf("values of up to %d bytes are stored", low); low < sizeMost {
		r.seen += ", larger ones refused with " + words
	}
	return "", nil
}

func (r *trial) checks(ctx context.Context) (string, error) {
	cas := func(e storage.Condition, value string) error {
		_, err := r.s.Put(ctx, r.key("c"), []byte(value), e)
		return err
	}
	err := errors.Join(
		wantCode("an insert of what is absent", cas(storage.IfAbsent(), "1"), storage.OK),
		wantCode("an insert of an existing key", cas(storage.IfAbsent(), "2"), storage.Conflict),
		wantCode("a compare-and-set with another value", cas(storage.IfValue([]byte("2")), "3"), storage.Conflict),
		wantCode("a compare-and-set", cas(storage.IfValue([]byte("1")), "4"), storage.OK),
		r.want(ctx, "c", []byte("4")))
	_, half := r.b.Apply(ctx, &storage.WriteSet{
		Checks: []storage.Check{storage.Absent(r.key("c"))},
		Ops:    []storage.Op{storage.Put(r.key("d"), []byte("x")), storage.Put(r.key("c"), []byte("5"))},
	})
	err = errors.Join(err, wantCode("a write set with a check that fails", half, storage.Conflict), r.want(ctx, "d", nil), r.want(ctx, "c", []byte("4")))
	_, removed := r.s.Remove(ctx, r.key("c"), storage.IfValue([]byte("4")))
	return "", errors.Join(err, wantCode("a conditional delete", removed, storage.OK), r.want(ctx, "c", nil))
}

// names returns those of a range below the trial's prefix, in pages of a few entities.
func (r *trial) names(ctx context.Context, q storage.Query) (names []string, err error) {
	q.Start, q.End = append([]byte(r.prefix), q.Start...), append([]byte(r.prefix), q.End...)
	for {
		page, err := r.small.Scan(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, it := range page.Items {
			names = append(names, strings.TrimPrefix(string(it.Key), r.prefix))
		}
		if page.Next == nil {
			return names, nil
		}
		q.Start = page.Next
	}
}

func (r *trial) ranges(ctx context.Context) (string, error) {
	var want []string
	w := &storage.WriteSet{}
	for i := range 60 {
		name := fmt.Sprintf("r%c/%02d", 'a'+i%3, i)
		want = append(want, name)
		w.Ops = append(w.Ops, storage.Put(r.key(name), []byte(name)))
	}
	slices.Sort(want)
	if _, err := r.b.Apply(ctx, w); err != nil {
		return "", err
	}
	got, err := r.names(ctx, storage.Query{Start: []byte("ra"), End: []byte("rd")})
	if err == nil && !slices.Equal(got, want) {
		err = fmt.Errorf("a range of %d items gives %d, or not in order", len(want), len(got))
	}
	if err != nil {
		return "", err
	}
	got, err = r.names(ctx, storage.Query{Start: []byte(want[3]), End: []byte(want[50]), Limit: 9})
	if err == nil && !slices.Equal(got, want[3:50]) {
		err = fmt.Errorf("a range with bounds inside gives %d items, it has 47", len(got))
	}
	return "", err
}

func (r *trial) expiry(ctx context.Context) (string, error) {
	w := &storage.WriteSet{}
	var stay []string
	for i := range 40 {
		name := fmt.Sprintf("t%02d", i)
		if i%2 == 0 {
			stay = append(stay, name)
			w.Ops = append(w.Ops, storage.Put(r.key(name), []byte(name)))
			continue
		}
		w.Ops = append(w.Ops, storage.PutUntil(r.key(name), []byte(name), r.b.clock.Now().Add(r.ttl)))
	}
	start := time.Now()
	if _, err := r.b.Apply(ctx, w); err != nil {
		return "", err
	}
	seen := r.want(ctx, "t01", []byte("t01"))
	if took := time.Since(start); seen != nil && took < r.ttl {
		return "", fmt.Errorf("an item that lives for %s is gone after %s, or the clocks of server and host differ by as much: %w", r.ttl, took.Round(time.Millisecond), seen)
	}
	select {
	case <-time.After(time.Until(start.Add(r.ttl + r.slack))):
	case <-ctx.Done():
		return "", ctx.Err()
	}
	if err := r.want(ctx, "t01", nil); err != nil {
		return "", fmt.Errorf("%s after its time, or the clocks of server and host differ by as much: %w", r.slack, err)
	}
	got, err := r.names(ctx, storage.Query{Start: []byte("t"), End: []byte("u")})
	if err == nil && !slices.Equal(got, stay) {
		err = fmt.Errorf("a range among expired items gives %d, there are %d", len(got), len(stay))
	}
	if err != nil {
		return "", err
	}
	if _, err := r.s.Put(ctx, r.key("t01"), []byte("new"), storage.IfAbsent()); err != nil {
		return "", fmt.Errorf("an insert where an expired item was: %w", err)
	}
	return "", r.want(ctx, "t01", []byte("new"))
}

func (r *trial) clear(ctx context.Context) (string, error) {
	for _, n := range [][2]int{{0, maxOps}, {maxOps, maxOps + 1}} {
		w := &storage.WriteSet{}
		for i := n[0]; i < n[1]; i++ {
			w.Ops = append(w.Ops, storage.Put(r.key(fmt.Sprintf("x%04d", i)), nil))
		}
		if _, err := r.b.Apply(ctx, w); err != nil {
			return "", err
		}
	}
	if err := r.s.Set(ctx, r.key("y"), nil); err != nil {
		return "", err
	}
	from, to := r.key("x"), r.key("y")
	whole := &storage.WriteSet{Ops: []storage.Op{storage.DeleteRange(from, to)}}
	if !r.Config.ChunkedClear {
		_, err := r.b.Apply(ctx, whole)
		if err := wantCode("in one write", err, storage.RangeLimit); err != nil {
			return "", err
		}
	}
	if _, err := r.small.Apply(ctx, whole); err != nil {
		return "", err
	}
	left, err := r.names(ctx, storage.Query{Start: []byte("x"), End: []byte("z")})
	if err == nil && !slices.Equal(left, []string{"y"}) {
		err = fmt.Errorf("%d items are left, one was to be", len(left))
	}
	return "", err
}

// sent sends one Write as it is to the leader. nil id: a new one.
func (r *trial) sent(ctx context.Context, key, id []byte, value string) (*ledgerpb.WriteResponse, error) {
	if id == nil {
		id = make([]byte, 16)
		rand.Read(id)
	}
	request := &ledgerpb.WriteRequest{Organization: r.b.organization, Vault: r.b.vault, Caller: r.b.caller, ClientId: &ledgerpb.ClientId{Id: r.b.lanes.prefix + "/trial"}, IdempotencyKey: id,
		Operations: []*ledgerpb.Operation{set(entityKey(key), []byte(value), 0, nil)}}
	answer := new(ledgerpb.WriteResponse)
	_, err := r.b.read(ctx, "try", methodWrite, unspecified, request, answer)
	return answer, err
}

func (r *trial) repeats(ctx context.Context) (string, error) {
	key, id := r.key("once"), make([]byte, 16)
	rand.Read(id)
	first, err := r.sent(ctx, key, id, "1")
	if err != nil {
		return "", err
	}
	again, err := r.sent(ctx, key, id, "1")
	if err != nil {
		return "", err
	}
	height := first.GetSuccess().GetBlockHeight()
	switch e := again.GetError(); {
	case first.GetSuccess() == nil:
		return "", errors.New("a write has no success in its answer")
	case e != nil && e.Code != ledgerpb.WriteErrorCode_WRITE_ERROR_CODE_ALREADY_COMMITTED:
		return "", fmt.Errorf("the repeat is answered with %s", e.Code)
	case e == nil && again.GetSuccess().GetBlockHeight() != height:
		return "", fmt.Errorf("the write was done at height %d, and again at %d", height, again.GetSuccess().GetBlockHeight())
	}
	other, err := r.sent(ctx, key, id, "2")
	if err == nil && other.GetError().GetCode() != ledgerpb.WriteErrorCode_WRITE_ERROR_CODE_IDEMPOTENCY_KEY_REUSED {
		return "", fmt.Errorf("another write under the same key is answered with %s", other.GetError().GetCode())
	}
	return "", err
}

func (r *trial) heights(ctx context.Context) (string, error) {
	wrote, err := r.sent(ctx, r.key("once"), nil, "h")
	if err != nil {
		return "", err
	}
	answer := new(ledgerpb.ReadResponse)
	request := &ledgerpb.ReadRequest{Organization: r.b.organization, Vault: r.b.vault, Key: entityKey(r.key("once")), Consistency: consistency, Caller: r.b.caller}
	if _, err := r.b.read(ctx, "try", methodRead, unspecified, request, answer); err != nil {
		return "", err
	}
	if h := wrote.GetSuccess().GetBlockHeight(); answer.BlockHeight < h {
		return fmt.Sprintf("a read after the write at height %d says height %d: an answer of a leader that was cut off cannot be told by that", h, answer.BlockHeight), nil
	}
	return "", nil
}

// asked makes one attempt at one node.
func (r *trial) asked(ctx context.Context, n *node, method string, request, answer proto.Message) *failure {
	return r.b.ask(ctx, n, r.b.times.write, method, request, answer)
}

func (r *trial) everyNode(ctx context.Context) (string, error) {
	var errs []error
	for i, n := range r.b.pool.all() {
		value := fmt.Sprint(i)
		if err := r.s.Set(ctx, r.key("node"), []byte(value)); err != nil {
			return "", err
		}
		answer := new(ledgerpb.ReadResponse)
		request := &ledgerpb.ReadRequest{Organization: r.b.organization, Vault: r.b.vault, Key: entityKey(r.key("node")), Consistency: consistency, Caller: r.b.caller}
		if f := r.asked(ctx, n, methodRead, request, answer); f != nil {
			errs = append(errs, f.storageError())
		} else if string(answer.Value) != value {
			errs = append(errs, fmt.Errorf("%s: a linearizable read is of an earlier state", n.name))
		}
	}
	return "", errors.Join(errs...)
}

func (r *trial) redirects(ctx context.Context) (string, error) {
	var errs []error
	followers := 0
	bare := 0
	for _, n := range r.b.pool.all() {
		key := make([]byte, 16)
		rand.Read(key)
		request := &ledgerpb.WriteRequest{Organization: r.b.organization, Vault: r.b.vault, Caller: r.b.caller, ClientId: &ledgerpb.ClientId{Id: r.b.lanes.prefix + "/trial"}, IdempotencyKey: key,
			Operations: []*ledgerpb.Operation{set(entityKey(r.key("redirect")), []byte(n.name), 0, nil)}}
		f := r.asked(ctx, n, methodWrite, request, new(ledgerpb.WriteResponse))
		for range 3 { // a refusal may lack the endpoint, and the next have it
			if f == nil || f.leader() != "" {
				break
			}
			bare++
			f = r.asked(ctx, n, methodWrite, request, new(ledgerpb.WriteResponse))
		}
		if f == nil { // it leads
			continue
		}
		followers++
		switch {
		case f.leader() == "":
			errs = append(errs, fmt.Errorf("%s: write rejected with %s (%s), without the address of the leader", n.name, f.Code, f.Details.GetErrorCode()))
		case !f.refused():
			errs = append(errs, fmt.Errorf("%s: write rejected, outcome unknown", n.name))
		default:
			h := r.b.pool.hint(f.leader())
			if h == nil {
				errs = append(errs, fmt.Errorf("%s: it says that the leader is %q, which is no endpoint that is followed", n.name, f.leader()))
				continue
			}
			if f := r.asked(ctx, h, methodCheck, &ledgerpb.HealthCheckRequest{}, new(ledgerpb.HealthCheckResponse)); f != nil {
				errs = append(errs, fmt.Errorf("%s: the leader that it names is unreachable, so nodes are tried one by one; start the nodes with --advertise: %w", n.name, f.storageError()))
			}
		}
	}
	if followers == 0 {
		return "all configured nodes accepted the write: none redirects", nil
	}
	if bare > 0 {
		r.seen = fmt.Sprintf("%d refusals did not: nodes are tried one by one then", bare)
	}
	return "", errors.Join(errs...)
}

func (r *trial) slugs(ctx context.Context) (string, error) {
	request := &ledgerpb.ReadRequest{Organization: r.b.organization, Vault: &ledgerpb.VaultSlug{Slug: NewSlug(time.Now())}, Key: "00", Consistency: consistency, Caller: r.b.caller}
	_, err := r.b.read(ctx, "try", methodRead, unspecified, request, new(ledgerpb.ReadResponse))
	var server *ServerError
	if !errors.As(err, &server) || server.Code != codes.NotFound {
		return "", fmt.Errorf("a read of a vault that does not exist: %v; expected NotFound", err)
	}
	return "", nil
}
