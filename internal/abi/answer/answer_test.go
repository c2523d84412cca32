package answer

import (
	"testing"

	"github.com/plinthkv/plinth/storage"
)

func keys(names ...string) (out [][]byte) {
	for _, n := range names {
		out = append(out, []byte(n))
	}
	return out
}

func items(names ...string) (out []storage.Item) {
	for _, n := range names {
		out = append(out, storage.Item{Key: []byte(n)})
	}
	return out
}

func TestItems(t *testing.T) {
	for _, c := range []struct {
		asked [][]byte
		got   []storage.Item
		right bool
	}{
		{nil, nil, true}, {keys("a", "b", "c"), nil, true}, {keys("a", "b", "c"), items("a", "c"), true},
		{keys("a", "a"), items("a", "a"), true}, {keys("b", "a"), items("b", "a"), true}, {keys(""), items(""), true},
		{keys("a", "b"), items("b", "a"), false}, {keys("a"), items("a", "a"), false}, {keys("a"), items("x"), false}, {nil, items("a"), false},
	} {
		if err := Items(c.got, c.asked); (err == nil) != c.right {
			t.Errorf("%v for %q: %v", c.got, c.asked, err)
		}
	}
}

func TestPage(t *testing.T) {
	all, ab := storage.Query{}, storage.Query{Start: []byte("a"), End: []byte("c")}
	back := ab
	back.Reverse = true
	for name, c := range map[string]struct {
		q     storage.Query
		p     storage.Page
		right bool
	}{
		"nothing":               {all, storage.Page{}, true},
		"all":                   {all, storage.Page{Items: items("", "a", "b")}, true},
		"empty, and goes on":    {ab, storage.Page{Next: []byte("b")}, true},
		"goes on":               {ab, storage.Page{Items: items("a"), Next: []byte("a\x00")}, true},
		"goes on to the end":    {ab, storage.Page{Items: items("a"), Next: []byte("c")}, true},
		"backwards":             {back, storage.Page{Items: items("b", "a")}, true},
		"backwards, goes on":    {back, storage.Page{Items: items("b"), Next: []byte("b")}, true},
		"too many":              {storage.Query{Limit: 1}, storage.Page{Items: items("a", "b")}, false},
		"before the range":      {ab, storage.Page{Items: items("A")}, false},
		"at the end":            {ab, storage.Page{Items: items("c")}, false},
		"out of order":          {all, storage.Page{Items: items("b", "a")}, false},
		"twice":                 {all, storage.Page{Items: items("a", "a")}, false},
		"backwards, wrong way":  {back, storage.Page{Items: items("a", "b")}, false},
		"back to the start":     {ab, storage.Page{Next: []byte("a")}, false},
		"back to where it was":  {ab, storage.Page{Items: items("a", "b"), Next: []byte("b")}, false},
		"beyond the end":        {ab, storage.Page{Next: []byte("d")}, false},
		"backwards to the end":  {back, storage.Page{Next: []byte("c")}, false},
		"backwards, not enough": {back, storage.Page{Items: items("b"), Next: []byte("b\x01")}, false},
	} {
		if err := Page(&c.q, &c.p); (err == nil) != c.right {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPresent(t *testing.T) {
	got := []storage.Item{{}, {Value: []byte("v")}}
	Present(got)
	if got[0].Value == nil || string(got[1].Value) != "v" {
		t.Errorf("%v", got)
	}
}
