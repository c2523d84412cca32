package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/sdk/process"
	"github.com/plinthkv/plinth/storage"
)

// The journal is a file: 16 bytes of incarnation, then records:
//
//	u32 length | u32 CRC of what follows | u64 version | write set, as the ABI has it
//
// A record that is cut or has a wrong CRC is the last: the process ended while it was
// being written, and it was not acknowledged.
type journal struct {
	file *os.File
	size int64
	buf  []byte
}

const recordHead = 16

// openJournal opens the journal at path, or begins one of that incarnation, and has
// replay hear each write set in it.
func openJournal(path string, fresh [16]byte, replay func(version uint64, w *storage.WriteSet)) (_ *journal, incarnation [16]byte, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, incarnation, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	if err := process.Lock(f); err != nil { // two writers would overwrite each other
		return nil, incarnation, err
	}
	r := bufio.NewReader(f)
	if _, err := io.ReadFull(r, incarnation[:]); err != nil { // a new one
		j := &journal{file: f, size: int64(len(fresh))}
		if _, err := f.WriteAt(fresh[:], 0); err != nil {
			return nil, incarnation, err
		}
		return j, fresh, errors.Join(f.Truncate(j.size), f.Sync())
	}
	j := &journal{file: f, size: int64(len(incarnation))}
	for {
		version, record, ok := j.next(r)
		if !ok {
			break
		}
		var w storage.WriteSet
		if err := abi.DecodeWriteSet(record, &w); err != nil {
			return nil, incarnation, fmt.Errorf("the journal %s: the record at %d: %w", path, j.size, err)
		}
		replay(version, &w)
		j.size += int64(recordHead + len(record))
	}
	return j, incarnation, f.Truncate(j.size)
}

// next returns the next record that is whole.
func (j *journal) next(r io.Reader) (version uint64, record []byte, ok bool) {
	var head [recordHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, false
	}
	size := binary.LittleEndian.Uint32(head[:])
	if size > 64<<20 {
		return 0, nil, false
	}
	record = make([]byte, size)
	if _, err := io.ReadFull(r, record); err != nil {
		return 0, nil, false
	}
	if crc32.Update(crc32.ChecksumIEEE(head[8:]), crc32.IEEETable, record) != binary.LittleEndian.Uint32(head[4:]) {
		return 0, nil, false
	}
	return binary.LittleEndian.Uint64(head[8:]), record, true
}

// write puts a write set at the end, and waits until the disk has it.
func (j *journal) write(version uint64, w *storage.WriteSet) error {
	b := append(j.buf[:0], make([]byte, recordHead)...)
	binary.LittleEndian.PutUint64(b[8:], version)
	b = abi.AppendWriteSet(b, w)
	binary.LittleEndian.PutUint32(b, uint32(len(b)-recordHead))
	binary.LittleEndian.PutUint32(b[4:], crc32.ChecksumIEEE(b[8:]))
	j.buf = b
	if _, err := j.file.WriteAt(b, j.size); err != nil {
		return errors.Join(err, j.file.Truncate(j.size)) // as if it had not been tried
	}
	if err := j.file.Sync(); err != nil {
		// What is on the disk is unknown: the next start reads it.
		return &storage.Error{Code: storage.OutcomeUnknown, Unknown: true, Msg: "the journal could not be synced", Err: err}
	}
	j.size += int64(len(b))
	return nil
}
