//go:build unix

package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plinthkv/plinth/storage"
)

// The answers of a cluster that cannot do what it is asked, and the resulting errors.

// wantCode demands an error of a code, whose text has a part.
func wantCode(t *testing.T, what string, err error, code storage.Code, part string) {
	t.Helper()
	if storage.CodeOf(err) != code || !strings.Contains(fmt.Sprint(err), part) {
		t.Errorf("%s: %v (%v), want %v with %q", what, err, storage.CodeOf(err).Name(), code.Name(), part)
	}
}

func set(b storage.Backend, key, value string) error {
	_, err := b.Apply(context.Background(), &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte(key), []byte(value))}})
	return err
}

func get(b storage.Backend, key string) string {
	it, err := b.Get(context.Background(), []byte(key))
	if err != nil {
		return err.Error()
	}
	return string(it.Value)
}

// A write whose answer is lost is of unknown outcome; with an ID it is settled, and done
// once.
func TestAnswerLost(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	p := newProxy(t, c.members[0].client, false)
	b, err := Open(t.Context(), envOf([]string{"http://" + p.addr}, "lost/", nil, impatient))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close(context.Background())
	direct := c.open(t, "lost/")
	if err := set(b, "k", "1"); err != nil {
		t.Fatal(err)
	}
	p.deaf.Store(true)
	began := time.Now()
	err = set(b, "k", "2")
	wantCode(t, "a write", err, storage.OutcomeUnknown, "may have been applied")
	if !storage.Unknown(err) || time.Since(began) > 30*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
	if is := get(direct, "k"); is != "2" {
		t.Errorf("it was applied, and the key has %s", is)
	}
	_, err = b.Get(t.Context(), []byte("k"))
	wantCode(t, "a read", err, storage.Unavailable, "")

	w := &storage.WriteSet{ID: [16]byte{1}, Checks: []storage.Check{storage.HasValue([]byte("k"), []byte("2"))}, Ops: []storage.Op{storage.Put([]byte("k"), []byte("3"))}}
	go func() {
		time.Sleep(300 * time.Millisecond)
		p.deaf.Store(false)
	}()
	version, err := b.Apply(t.Context(), w)
	if err != nil {
		t.Fatalf("with an ID: %v", err)
	}
	if it, err := direct.Get(t.Context(), []byte("k")); err != nil || it.Version != version || string(it.Value) != "3" {
		t.Errorf("%+v, %v, want version %d", it, err, version)
	}
}

// A write set with an ID whose first attempt may yet be applied is refused for good: the
// attempt is not applied later.
func TestBurned(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	b := c.open(t, "burn/")
	w := &storage.WriteSet{ID: [16]byte{1}, Checks: []storage.Check{storage.Present([]byte("no"))}, Ops: []storage.Op{storage.Put([]byte("k"), nil)}}
	p, err := b.propose(w)
	if err != nil {
		t.Fatal(err)
	}
	p.t = b.begin(t.Context(), 10*time.Second)
	p.now = b.now()
	late, err := p.request()
	if err != nil {
		t.Fatal(err)
	}
	p.doubt = &fault{code: storage.Unavailable, done: true, err: errors.New("lost")}
	if _, err := p.run(); !errors.Is(err, storage.ErrConflict) {
		t.Fatalf("%v", err)
	}
	if err := set(b, "no", "now it is"); err != nil { // the check would hold
		t.Fatal(err)
	}
	answer, err := b.kv.Txn(t.Context(), late)
	if err != nil || answer.Succeeded {
		t.Errorf("the attempt was applied late: %v", err)
	}
	if _, err := b.Apply(t.Context(), w); err != nil { // a refusal is not remembered
		t.Errorf("%v", err)
	}
}

// Without a quorum all is refused in bounded time, as not done; when it is back, so is the
// store.
func TestNoQuorum(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	b := c.open(t, "quorum/", impatient)
	if err := set(b, "k", "1"); err != nil {
		t.Fatal(err)
	}
	for _, m := range c.members[:2] {
		m.stop(syscall.SIGKILL)
	}
	for until := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) { // until the last one knows
		_, err := b.client.Status(t.Context(), "http://"+c.members[2].client)
		if rpctypes.Error(err) == rpctypes.ErrNoLeader {
			break
		}
		if time.Now().After(until) {
			t.Fatalf("the last member has not noticed: %v", err)
		}
	}
	began := time.Now()
	// An attempt on its way to a member that is gone may take all the time there is; the
	// outcome of a write is unknown then.
	done := "1"
	for what, call := range map[string]func() error{
		"a read":  func() error { _, err := b.Get(t.Context(), []byte("k")); return err },
		"a write": func() error { return set(b, "k", "2") },
	} {
		err := call()
		for range 5 {
			if storage.Unknown(err) {
				done = "1 or 2"
			}
			if err == nil || strings.Contains(err.Error(), "no leader") {
				break
			}
			err = call()
		}
		wantCode(t, what, err, storage.Unavailable, "no leader")
	}
	h, err := b.Health(t.Context(), storage.Readiness)
	if err != nil || h.Status != storage.Unhealthy || !strings.Contains(h.Reason, "no leader") {
		t.Errorf("%+v, %v", h, err)
	}
	if h, err := b.Health(t.Context(), storage.Liveness); err != nil || h.Status != storage.Healthy {
		t.Errorf("%+v, %v", h, err)
	}
	c.members[2].stop(syscall.SIGKILL)
	_, err = b.Get(t.Context(), []byte("k"))
	wantCode(t, "a read of nobody", err, storage.Unavailable, "")
	err = set(b, "k", "2")
	wantCode(t, "a write to nobody", err, storage.Unavailable, "")
	if storage.Unknown(err) {
		t.Errorf("what was never sent is unknown: %v", err)
	}
	if took := time.Since(began); took > 2*time.Minute {
		t.Errorf("it took %v", took)
	}
	for _, m := range c.members {
		m.start(t)
	}
	c.ready(t)
	if is := get(b, "k"); !strings.Contains(done, is) {
		t.Errorf("the key has %s", is)
	}
}

// A cluster that is out of space takes no puts; reads and deletes go on, and once there is
// room again, all does.
func TestOutOfSpace(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, "--quota-backend-bytes", "4194304")
	b := c.open(t, "full/", impatient)
	var err error
	for i := 0; i < 64 && err == nil; i++ {
		err = set(b, fmt.Sprintf("k%d", i%4), strings.Repeat("v", 256<<10))
	}
	wantCode(t, "a put", err, storage.NoSpace, "out of space")
	if is := get(b, "k1"); len(is) != 256<<10 {
		t.Errorf("a read: %.60s", is)
	}
	w := &storage.WriteSet{Ops: []storage.Op{storage.Delete([]byte("k1")), storage.DeleteRange([]byte("k2"), []byte("k3"))}}
	version, err := b.Apply(t.Context(), w)
	if err != nil {
		t.Errorf("a delete: %v", err)
	}
	_, err = b.Apply(t.Context(), &storage.WriteSet{Ops: []storage.Op{storage.PutUntil([]byte("k"), nil, time.Now().Add(time.Hour))}})
	wantCode(t, "a put with a TTL", err, storage.NoSpace, "out of space")
	h, err := b.Health(t.Context(), storage.Readiness)
	if err != nil || h.Status != storage.Degraded || !strings.Contains(h.Reason, "NOSPACE") || h.Details["db_bytes"] == "" {
		t.Errorf("%+v, %v", h, err)
	}
	if _, err := b.client.Compact(t.Context(), int64(version)); err != nil {
		t.Fatal(err)
	}
	if _, err := b.client.Defragment(t.Context(), c.endpoints()[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := b.client.AlarmDisarm(t.Context(), &clientv3.AlarmMember{}); err != nil {
		t.Fatal(err)
	}
	if err := set(b, "k", "v"); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

// What the cluster allows less of than is configured it refuses, and it is said which
// setting is wrong.
func TestSmallerCluster(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, "--max-txn-ops", "20", "--max-request-bytes", "100000")
	b := c.open(t, "small/")
	w := &storage.WriteSet{}
	for i := range 30 {
		w.Ops = append(w.Ops, storage.Put(fmt.Append(nil, i), nil))
	}
	_, err := b.Apply(t.Context(), w)
	wantCode(t, "30 ops", err, storage.SizeLimit, "max_ops")
	wantCode(t, "a large value", set(b, "k", strings.Repeat("v", 200_000)), storage.SizeLimit, "max_request")
	wantCode(t, "a larger value", set(b, "k", strings.Repeat("v", 1_400_000)), storage.SizeLimit, "max_request")
}

// What cannot be one transaction is refused before anything is sent.
func TestNotOneTransaction(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	b := c.open(t, "one/", func(m map[string]any) { m["max_range_items"] = 50 })
	w := &storage.WriteSet{Ops: []storage.Op{storage.DeleteRange(nil, nil)}}
	for i := range 100 {
		w.Ops = append(w.Ops, storage.Put(fmt.Append(nil, i), nil))
	}
	_, err := b.Apply(t.Context(), w)
	wantCode(t, "a range cut by 100 puts", err, storage.SizeLimit, "ops of the transaction")
	w.Ops = w.Ops[1:]
	if _, err := b.Apply(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	_, err = b.Apply(t.Context(), &storage.WriteSet{Ops: []storage.Op{storage.DeleteRange(nil, nil)}})
	wantCode(t, "a range delete", err, storage.RangeLimit, "max_range_items")
	_, err = b.Apply(t.Context(), &storage.WriteSet{Checks: []storage.Check{storage.NoneNewer(nil, []byte("9"), 1)}, Ops: []storage.Op{storage.Put([]byte("k"), nil)}})
	wantCode(t, "a range check", err, storage.RangeLimit, "max_range_items")
	if is := get(b, "k"); is != storage.ErrNotFound.Error() {
		t.Errorf("something was sent: %s", is)
	}
}

// Each answer of a cluster has its code, and it is known of each whether a write may have
// been applied.
func TestJudged(t *testing.T) {
	for err, want := range map[error]fault{
		rpctypes.ErrGRPCNoSpace:                                        {code: storage.NoSpace},
		rpctypes.ErrTooManyRequests:                                    {code: storage.RateLimited, again: true},
		rpctypes.ErrGRPCRequestTooLarge:                                {code: storage.SizeLimit},
		rpctypes.ErrGRPCTooManyOps:                                     {code: storage.SizeLimit},
		rpctypes.ErrGRPCCompacted:                                      {code: storage.Conflict},
		rpctypes.ErrGRPCNoLeader:                                       {code: storage.Unavailable, again: true},
		rpctypes.ErrGRPCLeaderChanged:                                  {code: storage.Unavailable, again: true, done: true},
		rpctypes.ErrGRPCTimeout:                                        {code: storage.Unavailable, again: true, done: true},
		rpctypes.ErrGRPCTimeoutDueToLeaderFail:                         {code: storage.Unavailable, again: true, done: true},
		rpctypes.ErrGRPCTimeoutDueToConnectionLost:                     {code: storage.Unavailable, again: true, done: true},
		rpctypes.ErrGRPCStopped:                                        {code: storage.Unavailable, again: true, done: true},
		rpctypes.ErrGRPCInvalidAuthToken:                               {code: storage.Unauthenticated, again: true},
		rpctypes.ErrGRPCAuthOldRevision:                                {code: storage.Unauthenticated, again: true},
		rpctypes.ErrGRPCAuthFailed:                                     {code: storage.Unauthenticated},
		rpctypes.ErrGRPCPermissionDenied:                               {code: storage.PermissionDenied},
		rpctypes.ErrGRPCCorrupt:                                        {code: storage.Internal},
		status.Error(codes.Unavailable, "EOF"):                         {code: storage.Unavailable, again: true, done: true},
		status.Error(codes.DeadlineExceeded, "late"):                   {code: storage.Timeout, again: true, done: true},
		status.Error(codes.Canceled, "closing"):                        {code: storage.Canceled, done: true},
		status.Error(codes.Unknown, "raft proposal dropped"):           {code: storage.Unavailable, again: true},
		status.Error(codes.Unknown, "something else"):                  {code: storage.Internal, done: true},
		status.Error(codes.ResourceExhausted, "a proxy's limit"):       {code: storage.RateLimited, again: true},
		status.Error(codes.ResourceExhausted, "x larger than max (y)"): {code: storage.SizeLimit},
		status.Error(codes.Unimplemented, "unknown service"):           {code: storage.InvalidArgument},
	} {
		is := judge(err, true)
		if is.code != want.code || is.again != want.again || is.done != want.done {
			t.Errorf("%v: %+v, want %+v", err, is, want)
		}
		if text := is.failed().Error(); text == "" || strings.Contains(text, "rpc error") {
			t.Errorf("%v: %s", err, text)
		}
	}
	if is := judge(status.Error(codes.Unavailable, "refused"), false); is.done {
		t.Errorf("what was not sent may have been applied: %+v", is)
	}
}

// A write set that writes nothing is judged on what the cluster has, not on what a member
// has that lags behind: its transaction reads, which etcd has it be linearizable for.
func TestChecksAlone(t *testing.T) {
	b := &Backend{config: DefaultConfig(), space: newSpace("p/"), clock: time.Now}
	b.info = b.config.Info()
	for _, w := range []*storage.WriteSet{
		{}, {Checks: []storage.Check{storage.NoneNewer(nil, nil, 1)}}, {Ops: []storage.Op{storage.DeleteRange([]byte("b"), []byte("a"))}},
	} {
		p, err := b.propose(w)
		if err != nil {
			t.Fatal(err)
		}
		r, err := p.request()
		if err != nil || len(r.Success) != 1 || r.Success[0].GetRequestRange() == nil || r.Success[0].GetRequestRange().Serializable {
			t.Errorf("%+v: %v, %v", w, r, err)
		}
	}
}

// Answers of another cluster at the same endpoints, as one that was restored, are not the store's.
func TestAnotherCluster(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	b := c.open(t, "same/")
	b.cluster++
	_, err := b.Get(t.Context(), []byte("k"))
	wantCode(t, "a read", err, storage.Unavailable, "must be opened again")
	wantCode(t, "a write", set(b, "k", "v"), storage.OutcomeUnknown, "must be opened again")
	if h, err := b.Health(t.Context(), storage.Readiness); err != nil || h.Status != storage.Unhealthy {
		t.Errorf("%+v, %v", h, err)
	}
}
