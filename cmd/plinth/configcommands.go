package main

import (
	_ "embed"
	"path/filepath"

	"github.com/plinthkv/plinth/config"
)

type configDefaultCmd struct {
	Data string `help:"Print the configuration of serve --data, with its store in a folder." placeholder:"DIR" type:"given"`
}

func (c *configDefaultCmd) Run(e env) error {
	content := config.Default()
	if c.Data != "" {
		dir, err := filepath.Abs(c.Data)
		if err != nil {
			return err
		}
		if content, err = onData(dir); err != nil {
			return err
		}
	}
	_, err := e.stdout.Write(content)
	return err
}

type configShowCmd struct {
	Source source `embed:""`
}

func (c *configShowCmd) Run(e env) error {
	cfg, err := c.Source.load(e)
	if err != nil {
		return listed(err)
	}
	shown, err := cfg.YAML()
	if err != nil {
		return err
	}
	_, err = e.stdout.Write(shown)
	return err
}

// schema is written by tools/docgen.
//
//go:embed schema.json
var schema []byte

type configSchemaCmd struct{}

func (configSchemaCmd) Run(e env) error {
	_, err := e.stdout.Write(schema)
	return err
}
