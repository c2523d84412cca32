package ledgertest

import (
	"bytes"

	"google.golang.org/protobuf/proto"

	"github.com/plinthkv/plinth/internal/ledger/ledgerpb"
)

// judge reports whether the condition of an op holds, by what is stored.
func (n *Node) judge(v *vault, op *ledgerpb.Operation) *ledgerpb.WriteError {
	set := op.GetSetEntity()
	if set.GetCondition() == nil {
		return nil
	}
	e := v.get(set.Key)
	if e != nil && !n.c.quirks.StaleConditions && expired(e, n.c.clock()) {
		e = nil
	}
	refused := func(code ledgerpb.WriteErrorCode) *ledgerpb.WriteError {
		answer := &ledgerpb.WriteError{Code: code, Key: set.Key, Message: "Precondition failed"}
		if e != nil {
			answer.CurrentVersion, answer.CurrentValue = proto.Uint64(e.Version), present(e.Value)
		}
		return answer
	}
	exists := func(want bool) *ledgerpb.WriteError {
		switch {
		case want && e == nil:
			return refused(ledgerpb.WriteErrorCode_WRITE_ERROR_CODE_KEY_NOT_FOUND)
		case !want && e != nil:
			return refused(ledgerpb.WriteErrorCode_WRITE_ERROR_CODE_KEY_EXISTS)
		}
		return nil
	}
	switch c := set.Condition.Condition.(type) {
	case *ledgerpb.SetCondition_NotExists:
		return exists(!c.NotExists)
	case *ledgerpb.SetCondition_MustExists:
		return exists(c.MustExists)
	case *ledgerpb.SetCondition_Version:
		if e == nil || e.Version != c.Version {
			if refusal := exists(true); refusal != nil {
				return refusal
			}
			return refused(ledgerpb.WriteErrorCode_WRITE_ERROR_CODE_VERSION_MISMATCH)
		}
	case *ledgerpb.SetCondition_ValueEquals:
		if e == nil || !bytes.Equal(e.Value, c.ValueEquals) {
			if refusal := exists(true); refusal != nil {
				return refusal
			}
			return refused(ledgerpb.WriteErrorCode_WRITE_ERROR_CODE_VALUE_MISMATCH)
		}
	}
	return nil
}

// do applies one op at a height, and returns how to take it back.
func (v *vault) do(op *ledgerpb.Operation, height uint64) (undo func()) {
	switch o := op.Op.(type) {
	case *ledgerpb.Operation_SetEntity:
		e := &ledgerpb.Entity{Key: o.SetEntity.Key, Value: o.SetEntity.Value, Version: height}
		if at := o.SetEntity.GetExpiresAt(); at != 0 {
			e.ExpiresAt = proto.Uint64(at)
		}
		undo = v.back(e.Key)
		v.put(e)
	case *ledgerpb.Operation_DeleteEntity:
		undo = v.back(o.DeleteEntity.Key)
		v.remove(o.DeleteEntity.Key)
	}
	return undo
}

// back puts what is at key now there again.
func (v *vault) back(key string) func() {
	before := v.get(key)
	return func() {
		if before == nil {
			v.remove(key)
		} else {
			v.put(before)
		}
	}
}
