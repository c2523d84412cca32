package backup

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"
)

// Format is the version of the format that this package writes, and the latest that it reads.
const Format = 1

const (
	magic       = "PLINTHBK"
	zstdStream  = 1 // the one compression
	headerBytes = 64
	sumBytes    = 32
)

// Header holds the beginning of a file.
type Header struct {
	Items   uint64    // how many items follow
	Newest  uint64    // highest version of an item; 0 if the store has no versions
	Created time.Time // when the file was completed, to the millisecond
	Bytes   uint64    // of the records before compression
	Stored  uint64    // of the records in the file
}

// The header's fields, by their offsets; all are big-endian.
const (
	atFormat      = 8
	atCompression = 12
	atItems       = 16
	atNewest      = 24
	atCreated     = 32
	atBytes       = 40
	atStored      = 48
	atReserved    = 56
	atSum         = 60
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (h *Header) encode() []byte {
	b := make([]byte, headerBytes)
	copy(b, magic)
	binary.BigEndian.PutUint32(b[atFormat:], Format)
	binary.BigEndian.PutUint32(b[atCompression:], zstdStream)
	binary.BigEndian.PutUint64(b[atItems:], h.Items)
	binary.BigEndian.PutUint64(b[atNewest:], h.Newest)
	binary.BigEndian.PutUint64(b[atCreated:], uint64(h.Created.UnixMilli()))
	binary.BigEndian.PutUint64(b[atBytes:], h.Bytes)
	binary.BigEndian.PutUint64(b[atStored:], h.Stored)
	binary.BigEndian.PutUint32(b[atSum:], crc32.Checksum(b[:atSum], castagnoli))
	return b
}

var errNoBackup = errors.New("not a backup file of Plinth")

// decode reads the header of a file that has size bytes. The format comes first: a newer one
// may have another header behind it.
func decode(b []byte, size int64) (h Header, err error) {
	if len(b) < atFormat || string(b[:atFormat]) != magic {
		return h, errNoBackup
	}
	if len(b) < headerBytes {
		return h, fmt.Errorf("the file is cut: %d bytes, and the header alone has %d", size, headerBytes)
	}
	if format := binary.BigEndian.Uint32(b[atFormat:]); format != Format {
		return h, fmt.Errorf("format %d is not supported: this version of plinth reads format %d", format, Format)
	}
	if binary.BigEndian.Uint32(b[atSum:]) != crc32.Checksum(b[:atSum], castagnoli) {
		return h, errors.New("the header is damaged: its checksum does not match")
	}
	if c := binary.BigEndian.Uint32(b[atCompression:]); c != zstdStream {
		return h, fmt.Errorf("compression %d is not supported", c)
	}
	if binary.BigEndian.Uint32(b[atReserved:]) != 0 {
		return h, fmt.Errorf("bytes %d to %d of the header must be zero", atReserved, atReserved+3)
	}
	h = Header{Items: binary.BigEndian.Uint64(b[atItems:]), Newest: binary.BigEndian.Uint64(b[atNewest:]),
		Created: time.UnixMilli(int64(binary.BigEndian.Uint64(b[atCreated:]))).UTC(),
		Bytes:   binary.BigEndian.Uint64(b[atBytes:]), Stored: binary.BigEndian.Uint64(b[atStored:])}
	switch have := uint64(size - headerBytes); {
	case size < headerBytes+sumBytes || h.Stored > have-sumBytes:
		return h, fmt.Errorf("the file is cut: %d bytes, and its header names %d more of records and checksum", size, h.Stored+sumBytes)
	case h.Stored < have-sumBytes:
		return h, fmt.Errorf("%d bytes follow the end of the backup", have-sumBytes-h.Stored)
	}
	return h, nil
}
