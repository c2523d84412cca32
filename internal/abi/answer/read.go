package answer

import (
	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/storage"
)

// ReadItem reads the answer to a Get. The item shares the bytes of message, and has
// no key.
func ReadItem(message []byte) (it storage.Item, err error) {
	if err = abi.DecodeItem(message, &it); err != nil {
		return storage.Item{}, err
	}
	if it.Key = nil; it.Value == nil {
		it.Value = []byte{}
	}
	return it, nil
}

// ReadItems reads the answer to a GetMany of keys. The items share the bytes of
// message.
func ReadItems(message []byte, keys [][]byte) ([]storage.Item, error) {
	items, err := abi.DecodeItems(message, make([]storage.Item, 0, len(keys)))
	if err == nil {
		err = Items(items, keys)
	}
	if err != nil {
		return nil, err
	}
	Present(items)
	return items, nil
}

// ReadPage reads the answer to a Scan. The items share the bytes of message.
func ReadPage(message []byte, q *storage.Query) (page storage.Page, err error) {
	if err = abi.DecodePage(message, &page); err == nil {
		err = Page(q, &page)
	}
	if err != nil {
		return storage.Page{}, err
	}
	if !q.KeysOnly {
		Present(page.Items)
	}
	return page, nil
}
