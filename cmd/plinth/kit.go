package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/plinthkv/plinth/host"
	"github.com/plinthkv/plinth/plugintest"
	"github.com/plinthkv/plinth/storage/storagetest"
)

// kit runs the conformance kit for plugins with gate: full.
func (s *serveCmd) kit(e env) func(context.Context, host.Subject) error {
	return func(ctx context.Context, subject host.Subject) error {
		o := plugintest.Options{Name: subject.Name, Config: subject.Config, Env: subject.Env, Memory: subject.Memory,
			Plaintext: subject.Plaintext, Plain: subject.Plain, CacheDir: cacheDir(e)}
		if self, err := os.Executable(); err == nil {
			o.Worker = []string{self}
		}
		var failed []error
		o.Each = func(r storagetest.Result) {
			if r.Outcome == storagetest.Failed && len(failed) < mostFailed {
				failed = append(failed, fmt.Errorf("%s/%s: %s", r.Category, r.Name, r.Text))
			}
		}
		var err error
		if subject.Module == "" {
			_, err = plugintest.RunProcess(ctx, subject.Command, o)
		} else if binary, unread := os.ReadFile(subject.Module); unread == nil {
			_, err = plugintest.Run(ctx, binary, o)
		} else {
			err = unread
		}
		return errors.Join(append(failed, err)...)
	}
}

// mostFailed limits how many failed checks a refusal names.
const mostFailed = 10
