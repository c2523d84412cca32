package durable

import (
	"testing"

	"github.com/plinthkv/plinth/storage"
)

func FuzzRecord(f *testing.F) {
	f.Add(AppendChange(nil, &storage.Op{Kind: storage.OpPut, Key: []byte("k"), Value: []byte("v")}, 0))
	f.Add(AppendChange(nil, &storage.Op{Kind: storage.OpDeleteRange, Key: []byte("a"), End: []byte("b")}, 0))
	f.Add([]byte{9, 0xff})
	f.Fuzz(func(t *testing.T, record []byte) {
		changes, err := ReadChanges(nil, record, 1)
		for _, c := range changes {
			if err == nil && (c.Kind < storage.ChangePut || c.Kind > storage.ChangeExpired || c.Key == nil) {
				t.Errorf("%x is %+v", record, c)
			}
		}
	})
}
