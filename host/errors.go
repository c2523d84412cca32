package host

import (
	"errors"
	"fmt"

	"github.com/plinthkv/plinth/config"
	"github.com/plinthkv/plinth/storage"
)

func stagePath(store string, i int) string { return fmt.Sprintf("stores.%s.pipeline[%d]", store, i) }

// positioned gives errors about what node says their positions.
func positioned(node *config.Node, err error) error {
	var have config.Errors
	if errors.As(err, &have) {
		return err
	}
	var errs []error
	for _, one := range flatten(err) {
		path := ""
		var field interface{ ConfigPath() string }
		if errors.As(one, &field) {
			path = field.ConfigPath()
		}
		errs = append(errs, node.Errorf(path, "%v", one))
	}
	return config.Join(errs...)
}

func flatten(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

// require refuses a store without the capabilities that its configuration demands.
func require(cfg *config.Config, path string, names []string, have storage.Caps) error {
	var errs []error
	for i, name := range names {
		at := fmt.Sprintf("%s.require[%d]", path, i)
		c, ok := storage.ParseCap(name)
		switch {
		case !ok:
			errs = append(errs, cfg.Root().Errorf(at, "unknown capability %q%s", name, config.Hint(name, storage.CapNames())))
		case !have.Has(c):
			errs = append(errs, cfg.Root().Errorf(at, "the store does not have the capability %s; it has %s", name, have))
		}
	}
	return config.Join(errs...)
}
