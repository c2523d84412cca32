package abi

import (
	"github.com/plinthkv/plinth/storage"
)

// Item: 1 optional bytes key, 2 optional bytes value, 3 uint64 version,
// 4 int64 expires_at.
const (
	itemKey     = 1<<3 | wireBytes
	itemValue   = 2<<3 | wireBytes
	itemVersion = 3<<3 | wireVarint
	itemExpires = 4<<3 | wireVarint
	itemFields  = 1<<1 | 1<<2 | 1<<3 | 1<<4
)

// Items: 1 repeated Item items. Page: the same, 2 optional bytes next,
// 3 uint64 version.
const (
	pageItem    = 1<<3 | wireBytes
	pageNext    = 2<<3 | wireBytes
	pageVersion = 3<<3 | wireVarint
	itemsFields = 1 << 1
	pageFields  = 1<<1 | 1<<2 | 1<<3
)

// AppendItem appends an item. A nil Key and a nil Value are omitted.
func AppendItem(dst []byte, it *storage.Item) []byte {
	dst = appendOptional(dst, itemKey, it.Key)
	dst = appendOptional(dst, itemValue, it.Value)
	dst = appendUint(dst, itemVersion, it.Version)
	return appendUint(dst, itemExpires, fromTime(it.ExpiresAt))
}

// DecodeItem reads an item. Key and Value are views, and nil if absent.
func DecodeItem(b []byte, it *storage.Item) error {
	*it = storage.Item{}
	for i := 0; i < len(b); {
		at := i
		tag, next := uint64(b[i]), i+1
		if tag >= 0x80 {
			if tag, next = uvarint(b, i); next < 0 {
				return malformed("item", at, next)
			}
		}
		switch tag {
		case itemKey:
			it.Key, i = field(b, next)
		case itemValue:
			it.Value, i = field(b, next)
		case itemVersion:
			it.Version, i = uvarint(b, next)
		case itemExpires:
			it.ExpiresAt, i = expiry(b, next)
		default:
			i = skip(b, next, tag, itemFields)
		}
		if i < 0 {
			return malformed("item", at, i)
		}
	}
	return nil
}

func sizeItem(it *storage.Item) int {
	return sizeOptional(it.Key) + sizeOptional(it.Value) + sizeUint(it.Version) + sizeUint(fromTime(it.ExpiresAt))
}

// ItemSize returns the number of bytes that an item adds to a page, or to the answer of a
// GetMany.
func ItemSize(it *storage.Item) int { return sizeBytes(sizeItem(it)) }

// AppendItems appends the answer of a GetMany.
func AppendItems(dst []byte, items []storage.Item) []byte {
	for i := range items {
		dst = appendLen(dst, pageItem, sizeItem(&items[i]))
		dst = AppendItem(dst, &items[i])
	}
	return dst
}

// AppendItemHead appends an item to a page or to the answer of a GetMany, up to the
// bytes of its key: they follow, then what [AppendItemValue] appends, and the bytes
// of the value, then what [AppendItemTail] does. It is for a backend that keeps keys
// and values in pieces.
func AppendItemHead(dst []byte, s *ItemShape) []byte {
	dst = appendLen(dst, pageItem, s.size())
	return appendLen(dst, itemKey, s.Key)
}

// AppendItemValue appends what is between the key and the value. In the answer to a
// Get it comes first.
func AppendItemValue(dst []byte, s *ItemShape) []byte { return appendLen(dst, itemValue, s.Value) }

// AppendItemTail appends what is after the value.
func AppendItemTail(dst []byte, s *ItemShape) []byte {
	return appendUint(appendUint(dst, itemVersion, s.Version), itemExpires, uint64(s.Expires))
}

// ItemShape has the sizes and numbers of an item, without its bytes.
type ItemShape struct {
	Key, Value int    // bytes; a Value of -1: left out
	Version    uint64 // of the write
	Expires    int64  // ms since 1970; 0 means never
}

func (s *ItemShape) size() int {
	n := sizeBytes(s.Key) + sizeUint(s.Version) + sizeUint(uint64(s.Expires))
	if s.Value >= 0 {
		n += sizeBytes(s.Value)
	}
	return n
}

// Size returns the bytes that the item adds to a page, or to the answer of a GetMany.
func (s *ItemShape) Size() int { return sizeBytes(s.size()) }

// DecodeItems reads the answer of a GetMany, over the capacity of dst.
func DecodeItems(b []byte, dst []storage.Item) ([]storage.Item, error) {
	p := storage.Page{Items: dst}
	err := decodePage(b, &p, "items", itemsFields)
	return p.Items, err
}

// AppendPage appends a page. A nil Next is omitted: the scan is done.
func AppendPage(dst []byte, p *storage.Page) []byte {
	dst = AppendItems(dst, p.Items)
	dst = appendOptional(dst, pageNext, p.Next)
	return appendUint(dst, pageVersion, p.Version)
}

// PageSize returns the number of bytes that [AppendPage] appends.
func PageSize(p *storage.Page) int {
	n := sizeOptional(p.Next) + sizeUint(p.Version)
	for i := range p.Items {
		n += ItemSize(&p.Items[i])
	}
	return n
}

// DecodePage reads a page, over the capacity of p.Items. Keys, values and Next
// are views.
func DecodePage(b []byte, p *storage.Page) error { return decodePage(b, p, "page", pageFields) }

// decodePage reads a page, or items, which are a page of fewer fields.
func decodePage(b []byte, p *storage.Page, message string, known uint64) error {
	items := p.Items[:0]
	*p = storage.Page{}
	for i := 0; i < len(b); {
		at := i
		tag, next := uint64(b[i]), i+1
		if tag >= 0x80 {
			if tag, next = uvarint(b, i); next < 0 {
				return malformed(message, at, next)
			}
		}
		switch {
		case tag == pageItem:
			if len(items) == cap(items) {
				n, err := count(b, message, pageItem)
				if err != nil {
					return err
				}
				items = room(items, n)
			}
			var v []byte
			if v, i = field(b, next); i >= 0 {
				items = items[:len(items)+1]
				if err := DecodeItem(v, &items[len(items)-1]); err != nil {
					return inside(message, at, err)
				}
			}
		case tag == pageNext && known == pageFields:
			p.Next, i = field(b, next)
		case tag == pageVersion && known == pageFields:
			p.Version, i = uvarint(b, next)
		default:
			i = skip(b, next, tag, known)
		}
		if i < 0 {
			return malformed(message, at, i)
		}
	}
	p.Items = items
	return bounded(message, len(items))
}
