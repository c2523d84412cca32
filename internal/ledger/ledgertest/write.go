package ledgertest

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/plinthkv/plinth/internal/ledger/ledgerpb"
	"github.com/plinthkv/plinth/internal/ledger/verify"
)

// leads reports whether the node is the leader; the cluster must be locked. A follower
// names the one that is.
func (n *Node) leads() error {
	leader := n.c.nodes[n.c.leader]
	if leader == n || n.own() != nil || !n.c.quirks.Redirect {
		return nil
	}
	r := refuse(codes.Unavailable, "2000", "not the leader")
	r.details.Context = map[string]string{"leader_id": leader.name(), "leader_endpoint": leader.advertised(),
		"leader_term": strconv.Itoa(n.c.term), "leader_shard": "0"}
	if n.c.bare = !n.c.bare; n.c.bare && n.c.quirks.BareHints {
		delete(r.details.Context, "leader_endpoint")
	}
	return r
}

// write does one Write, once: under its key it is known for a day.
func (n *Node) write(ctx context.Context, r *ledgerpb.WriteRequest) (*ledgerpb.WriteResponse, error) {
	if at, ok := ctx.Deadline(); ok && n.c.quirks.ShortDeadlines && time.Until(at) < LeastLeft {
		return nil, refuse(codes.DeadlineExceeded, "3204", "too little time is left")
	}
	if err := n.validate(r); err != nil {
		return nil, err
	}
	if n.cutOff() { // its proposals get no majority
		<-ctx.Done()
		return nil, refuse(codes.DeadlineExceeded, "3204", "proposal timed out")
	}
	n.c.writing.Add(1)
	defer n.c.writing.Add(-1)
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	v, err := n.led(r.Organization, r.Vault)
	if err != nil {
		return nil, err
	}
	defer n.announce(v)
	payload, err := payloadOf(r)
	if err != nil {
		return nil, err
	}
	name := clientName{v.ids, r.ClientId.GetId()}
	if answer := n.repeated(name, string(r.IdempotencyKey), payload); answer != nil {
		return answer, nil
	}
	var undo []func()
	for _, op := range r.Operations {
		e := n.judge(v, op)
		if set := op.GetSetEntity(); e == nil && n.c.quirks.SmallPages && len(set.GetKey())+len(set.GetValue()) > maxEntity {
			e = &ledgerpb.WriteError{Message: "Failed to apply operations: Storage error: Page is full"}
		}
		if e != nil {
			for _, back := range slices.Backward(undo) {
				back()
			}
			return failed(e), nil
		}
		undo = append(undo, v.do(op, v.height+1))
	}
	v.height++
	return n.commit(v, r, name, payload), nil
}

func failed(e *ledgerpb.WriteError) *ledgerpb.WriteResponse {
	return &ledgerpb.WriteResponse{Result: &ledgerpb.WriteResponse_Error{Error: e}}
}

// payloadOf returns the hash of the operations.
func payloadOf(r *ledgerpb.WriteRequest) (verify.Hash, error) {
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(&ledgerpb.WriteRequest{Operations: r.Operations})
	return sha256.Sum256(raw), err
}

// validate checks what the server demands of any write.
func (n *Node) validate(r *ledgerpb.WriteRequest) error {
	bad := func(format string, args ...any) error {
		return refuse(codes.InvalidArgument, "3203", fmt.Sprintf(format, args...))
	}
	switch {
	case len(r.IdempotencyKey) != 16:
		return bad("idempotency_key must be 16 bytes")
	case len(r.Operations) == 0:
		return bad("at least one operation is required")
	case len(r.Operations) > maxOps && n.c.quirks.MaxOps:
		return bad("too many operations")
	}
	for _, op := range r.Operations {
		var key string
		switch o := op.Op.(type) {
		case *ledgerpb.Operation_SetEntity:
			key = o.SetEntity.Key
			if len(o.SetEntity.Value) > maxValue {
				return bad("value too large")
			}
		case *ledgerpb.Operation_DeleteEntity:
			key = o.DeleteEntity.Key
		default:
			return bad("unknown operation")
		}
		if !validKey(key) {
			return bad("invalid key")
		}
	}
	return nil
}

func validKey(key string) bool {
	if key == "" || len(key) > maxKey || key[0] == '_' {
		return false
	}
	for _, c := range []byte(key) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || bytes.IndexByte([]byte(":/_.-"), c) >= 0) {
			return false
		}
	}
	return true
}

// repeated returns the answer to a write that was done before, by what this node knows,
// or nil if it was not.
func (n *Node) repeated(name clientName, key string, payload verify.Hash) *ledgerpb.WriteResponse {
	now := n.c.clock()
	reused := failed(&ledgerpb.WriteError{Code: ledgerpb.WriteErrorCode_WRITE_ERROR_CODE_IDEMPOTENCY_KEY_REUSED, Message: "idempotency key reused"})
	if k := n.c.known[n.knows(name, key)]; k != nil && now.Sub(k.at) < keyMemory {
		if k.payload != payload {
			return reused
		}
		return &ledgerpb.WriteResponse{Result: &ledgerpb.WriteResponse_Success{Success: clone(k.answer)}}
	}
	last := n.c.clients[name]
	if last == nil || last.key != key || now.Sub(last.at) >= keyMemory {
		return nil
	}
	if last.payload != payload {
		return reused
	}
	return failed(&ledgerpb.WriteError{Code: ledgerpb.WriteErrorCode_WRITE_ERROR_CODE_ALREADY_COMMITTED, Message: "already committed",
		AssignedSequence: proto.Uint64(last.sequence)})
}

// knownWrite is a write that a node remembers, by knownName.
type knownWrite struct {
	answer  *ledgerpb.WriteSuccess
	payload verify.Hash
	at      time.Time
}

type knownName struct {
	node   uint64 // 0 means any
	client clientName
	key    string
}

func (n *Node) knows(client clientName, key string) knownName {
	k := knownName{n.id, client, key}
	if !n.c.quirks.ForgetfulFollowers {
		k.node = 0
	}
	return k
}

// remember keeps the answer to a write, and forgets the oldest of too many.
func (n *Node) remember(k knownName, w *knownWrite) {
	n.c.known[k] = w
	if n.c.oldest = append(n.c.oldest, k); len(n.c.oldest) > keysRemembered {
		delete(n.c.known, n.c.oldest[0])
		n.c.oldest = n.c.oldest[1:]
	}
}

// commit makes a block of what was applied, and remembers it.
func (n *Node) commit(v *vault, r *ledgerpb.WriteRequest, name clientName, payload verify.Hash) *ledgerpb.WriteResponse {
	now := n.c.clock()
	if n.c.quirks.Audit {
		v.put(&ledgerpb.Entity{Key: fmt.Sprintf("_audit:vault:%d:write:%d", r.Vault.GetSlug(), now.UnixNano()+int64(v.height)), Value: []byte("{}"), Version: v.height})
	}
	id := make([]byte, 16)
	rand.Read(id)
	sequence := uint64(1)
	if last := n.c.clients[name]; last != nil {
		sequence = last.sequence + 1
	}
	tx := &ledgerpb.Transaction{Id: &ledgerpb.TxId{Id: id}, ClientId: r.ClientId, Sequence: sequence, Operations: r.Operations, Timestamp: stamp(now)}
	if n.c.quirks.Unarchived {
		defer v.unarchive(v.height)
	}
	header := v.seal(tx, r.Vault.GetSlug(), uint64(n.c.term), n.name())
	success := &ledgerpb.WriteSuccess{TxId: &ledgerpb.TxId{Id: id}, BlockHeight: v.height, BlockHeader: clone(header), AssignedSequence: sequence}
	if n.c.quirks.RandomTxID {
		success.TxId = &ledgerpb.TxId{Id: make([]byte, 16)}
		rand.Read(success.TxId.Id)
	}
	key := string(r.IdempotencyKey)
	if key != string(make([]byte, 16)) {
		n.c.clients[name] = &lastWrite{key: key, payload: payload, at: now, sequence: sequence, height: v.height}
		n.remember(n.knows(name, key), &knownWrite{clone(success), payload, now})
	}
	return &ledgerpb.WriteResponse{Result: &ledgerpb.WriteResponse_Success{Success: success}}
}
