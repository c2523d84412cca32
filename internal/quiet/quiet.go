// Package quiet drops what packages log while they are initialized, before the program can
// say where its log goes and in which form. OpenTelemetry's SDK for automatic
// instrumentation reads the environment then. Only package main of a program imports it.
//
// It works because packages without unmet imports are initialized in the order of their
// paths, and this one imports the standard library alone.
package quiet

import (
	"log"
	"log/slog"
	"os"
)

var was = slog.Default()

func init() { slog.SetDefault(slog.New(slog.DiscardHandler)) }

// End lets packages log again, as by default. Call it first in main.
func End() {
	slog.SetDefault(was)
	log.SetOutput(os.Stderr) // which went by way of slog's
	log.SetFlags(log.LstdFlags)
}
