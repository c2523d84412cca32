package strictyaml

import "github.com/plinthkv/plinth/secret"

// sealed is data that is kept as a secret: a part of one that all values of a document share.
type sealed struct {
	all      *secret.Value // nil if it is not sealed
	from, to int
}

// Data returns what is decoded of a scalar: its text with its references resolved. Data of a
// scalar that is sealed is a copy, which nothing keeps.
func (v *Value) Data() (data string) {
	if v.sealed.all == nil {
		return v.data
	}
	v.sealed.all.Use(func(all []byte) { data = string(all[v.sealed.from:v.sealed.to]) })
	return data
}

// SetData sets what is decoded of a scalar that is not sealed.
func (v *Value) SetData(data string) { v.data = data }

// Seal keeps as one secret what may not be shown of the scalars below root: what came through
// references and from the environment, and what is masked.
func Seal(root *Value) {
	var all []byte
	var values []*Value
	root.Walk(func(v *Value) {
		if v.sealed.all != nil || v.data == "" || v.Origin == Document && v.Masked == "" {
			return
		}
		from := len(all)
		if len(all)+len(v.data) > cap(all) { // its copies are overwritten as it grows
			more := make([]byte, len(all), 2*cap(all)+len(v.data))
			copy(more, all)
			clear(all)
			all = more
		}
		all = append(all, v.data...)
		v.sealed.from, v.sealed.to = from, len(all)
		values = append(values, v)
	})
	if len(values) == 0 {
		return
	}
	kept := secret.New(all)
	for _, v := range values {
		v.sealed.all, v.data = kept, ""
		if v.Origin == Document {
			v.Text = v.Masked
		}
	}
}
