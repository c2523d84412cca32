package verify_test

import (
	"encoding/hex"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/plinthkv/plinth/internal/ledger/ledgerpb"
	"github.com/plinthkv/plinth/internal/ledger/verify"
)

// The hashes are those that the server's definitions give: these vectors were
// computed apart from this code.

func TestSeahash(t *testing.T) {
	if got := verify.Seahash([]byte("to be or not to be")); got != 1988685042348123509 {
		t.Errorf("seahash is %d", got)
	}
	for key, want := range map[string]int{"6b6579": 124, "00": 73, "user:alice": 45} {
		if got := verify.Bucket(key); got != want {
			t.Errorf("the bucket of %q is %d, want %d", key, got, want)
		}
	}
}

const (
	emptyRoot = "0e89e7ed74c9a5944c886585d634e3c68f4dccd0a31968fe52d6df0873ccdec6"
	oneBucket = "eed558f1da70c73ef93fe356da674f70bef4b753d2058d8bf1874131c5b9e66e"
	oneRoot   = "4608b3d5cb67120df195fa9529e003934783e422075de57b0f9d2bdcb8777799"
)

func TestStateRoot(t *testing.T) {
	one := []*ledgerpb.Entity{{Key: "6b6579", Value: []byte("v"), Version: 1}}
	want(t, "the root of an empty vault", verify.StateRoot(nil), emptyRoot)
	want(t, "the root of a bucket", verify.BucketRoot(one), oneBucket)
	want(t, "the root of a vault of one entity", verify.StateRoot(one), oneRoot)
}

func header(t *testing.T) *ledgerpb.BlockHeader {
	empty := verify.Empty()
	root, err := hex.DecodeString(oneRoot)
	if err != nil {
		t.Fatal(err)
	}
	return &ledgerpb.BlockHeader{Height: 1, PreviousHash: &ledgerpb.Hash{Value: make([]byte, 32)}, TxMerkleRoot: &ledgerpb.Hash{Value: empty[:]},
		StateRoot: &ledgerpb.Hash{Value: root}, Timestamp: &timestamppb.Timestamp{Seconds: 1700000000, Nanos: 123456789}, Term: 2, CommittedIndex: 7}
}

func TestHeaders(t *testing.T) {
	ids := verify.IDs{Organization: 1, Vault: 1}
	want(t, "the entry hash", verify.Entry(header(t), ids), "9b43e3032e558e6ac85eb55fdcc73ff62b1d1961209055a9e84710218dcce2e7")
	want(t, "the hash of the header", verify.Header(header(t), ids), "7db5b4e535642cc3489c16363e3f220017904caa510fea76b7e0f4be92563a31")
}

func transaction(ops ...*ledgerpb.Operation) *ledgerpb.Transaction {
	id := make([]byte, 16)
	for i := range id {
		id[i] = byte(i)
	}
	return &ledgerpb.Transaction{Id: &ledgerpb.TxId{Id: id}, ClientId: &ledgerpb.ClientId{Id: "c1"}, Sequence: 99, Operations: ops,
		Timestamp: &timestamppb.Timestamp{Seconds: 1700000000, Nanos: 5}}
}

func set(e *ledgerpb.SetEntity) *ledgerpb.Operation {
	return &ledgerpb.Operation{Op: &ledgerpb.Operation_SetEntity{SetEntity: e}}
}

func TestTransaction(t *testing.T) {
	plain := transaction(set(&ledgerpb.SetEntity{Key: "6b6579", Value: []byte("v")}))
	want(t, "a transaction of one put", verify.Transaction(plain, 0), "edf3da57166b5d026bc9a95117d9141efc7406980c617292046108080592a46a")
	more := transaction(set(&ledgerpb.SetEntity{Key: "6b6579", Value: []byte("w"), ExpiresAt: proto.Uint64(1700000060),
		Condition: &ledgerpb.SetCondition{Condition: &ledgerpb.SetCondition_ValueEquals{ValueEquals: []byte("v")}}}),
		&ledgerpb.Operation{Op: &ledgerpb.Operation_DeleteEntity{DeleteEntity: &ledgerpb.DeleteEntity{Key: "00"}}})
	want(t, "a transaction of two ops", verify.Transaction(more, 0), "e3abac03eef00a69b30c168c3290c0fa4298d8f9cc2c10c190a6539904432453")
	if verify.Transaction(plain, 99) == verify.Transaction(plain, 0) {
		t.Error("the sequence does not count")
	}
}

func want(t *testing.T, what string, got verify.Hash, want string) {
	t.Helper()
	if hex.EncodeToString(got[:]) != want {
		t.Errorf("%s is %x, want %s", what, got, want)
	}
}
