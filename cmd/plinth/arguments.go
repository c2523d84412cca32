package main

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"time"

	"github.com/alecthomas/kong"

	"github.com/plinthkv/plinth/config"
	"github.com/plinthkv/plinth/identity"
)

// asItIs decodes a text unchanged: keys and values are bytes, and kong's own mapper passes
// them through JSON, which replaces invalid UTF-8 by U+FFFD.
func asItIs(ctx *kong.DecodeContext, target reflect.Value) error {
	t, err := ctx.Scan.PopValue("string")
	if err != nil {
		return err
	}
	text, ok := t.Value.(string)
	if !ok {
		return fmt.Errorf("expected a string, got %v", t.Value)
	}
	target.SetString(text)
	return nil
}

// errEmpty refuses an empty name of a file: most often that of an unset variable of a shell.
// kong's own mapper takes it for the working directory.
var errEmpty = errors.New("is empty")

// given decodes a text that must not be empty.
func given(ctx *kong.DecodeContext, target reflect.Value) error {
	if err := asItIs(ctx, target); err != nil {
		return err
	}
	if target.String() == "" {
		return errEmpty
	}
	return nil
}

// duration decodes a duration as the configuration has it.
func duration(ctx *kong.DecodeContext, target reflect.Value) error {
	var text string
	if err := ctx.Scan.PopValueInto("duration", &text); err != nil {
		return err
	}
	var d config.Duration
	if err := d.UnmarshalText([]byte(text)); err != nil {
		return err
	}
	target.SetInt(int64(d))
	return nil
}

// slug decodes the slug of an organization. 0 is none.
func slug(ctx *kong.DecodeContext, target reflect.Value) error {
	var text string
	if err := ctx.Scan.PopValueInto("slug", &text); err != nil {
		return err
	}
	org, err := identity.Parse[identity.OrganizationSlug](text)
	switch {
	case err != nil:
		return err
	case org.IsZero():
		return errors.New("0 is no organization")
	}
	target.SetUint(uint64(org))
	return nil
}

// at decodes an optional time.
func at(ctx *kong.DecodeContext, target reflect.Value) error {
	var text string
	if err := ctx.Scan.PopValueInto("time", &text); err != nil {
		return err
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return fmt.Errorf("%.40q must be a time such as 2026-11-30T12:00:00Z", text)
	}
	target.Set(reflect.ValueOf(&t))
	return nil
}

// path decodes a path, which becomes absolute, or "-".
func path(ctx *kong.DecodeContext, target reflect.Value) error {
	if err := given(ctx, target); err != nil {
		return err
	}
	if name := target.String(); name != "-" {
		target.SetString(kong.ExpandPath(name))
	}
	return nil
}

// existingDir decodes the path of a folder that exists.
func existingDir(ctx *kong.DecodeContext, target reflect.Value) error {
	if err := path(ctx, target); err != nil {
		return err
	}
	info, err := os.Stat(target.String())
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is not a folder", target)
	}
	return err
}
