package strictyaml

// Same reports whether n and o have the same content, wherever that is written: mappings
// of the same keys in any order, lists of the same items, and text of the same
// characters, references resolved. A part that is not written equals an empty one.
func (n *Node) Same(o *Node) bool { return same(ValueOf(n), ValueOf(o)) }

func same(a, b *Value) bool {
	if a.empty() || b.empty() {
		return a.empty() && b.empty()
	}
	if a.Kind != b.Kind || a.Data() != b.Data() || len(a.Entries) != len(b.Entries) || len(a.Items) != len(b.Items) {
		return false
	}
	for _, e := range a.Entries {
		if other := b.Get(e.Name); other == nil || !same(e.Value, other) {
			return false
		}
	}
	for i := range a.Items {
		if !same(a.Items[i], b.Items[i]) {
			return false
		}
	}
	return true
}

// empty reports whether there is nothing in v: no key, no item, no value.
func (v *Value) empty() bool {
	return v == nil || v.Kind != Scalar && len(v.Entries) == 0 && len(v.Items) == 0
}
