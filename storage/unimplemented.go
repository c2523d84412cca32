package storage

import "context"

// UnimplementedBackend returns Unsupported from every method. A backend embeds it, so
// that a method added to [Backend] later does not break its build. Wrappers must not: a
// new method would bypass them.
type UnimplementedBackend struct{}

// Get returns [ErrUnsupported].
func (UnimplementedBackend) Get(context.Context, []byte) (Item, error) {
	return Item{}, unimplemented("get")
}

// GetMany returns [ErrUnsupported].
func (UnimplementedBackend) GetMany(context.Context, [][]byte) ([]Item, error) {
	return nil, unimplemented("get_many")
}

// Scan returns [ErrUnsupported].
func (UnimplementedBackend) Scan(context.Context, Query) (Page, error) {
	return Page{}, unimplemented("scan")
}

// Apply returns [ErrUnsupported].
func (UnimplementedBackend) Apply(context.Context, *WriteSet) (uint64, error) {
	return 0, unimplemented("apply")
}

// Changes returns [ErrUnsupported].
func (UnimplementedBackend) Changes(context.Context, ChangeQuery) (ChangePage, error) {
	return ChangePage{}, unimplemented("changes")
}

// Health returns [ErrUnsupported].
func (UnimplementedBackend) Health(context.Context, Probe) (Health, error) {
	return Health{}, unimplemented("health")
}

// Info returns an Info without a name and without capabilities.
func (UnimplementedBackend) Info() Info { return Info{} }

// Close does nothing.
func (UnimplementedBackend) Close(context.Context) error { return nil }

func unimplemented(op string) error { return &Error{Code: Unsupported, Op: op} }

var _ Backend = UnimplementedBackend{}
