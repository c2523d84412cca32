package main

import (
	"strings"
	"testing"
)

// The address of the other protocol is named as what it is.
func TestWrongProtocol(t *testing.T) {
	web, rpc := serveHere(t, "plugins: { memory: { isolation: none } }\nstores: { default: { backend: { plugin: memory } } }\n")
	for addr, want := range map[string]string{
		strings.Replace(rpc, "grpc://", "http://", 1): "does not speak HTTP: is it the address of gRPC (grpc://…)?",
		strings.Replace(web, "http://", "grpc://", 1): "does not speak gRPC: is it the address of HTTP (http://…)?",
	} {
		if out, errs, code := program(t, "get", "k", "--addr", addr); code != exitFailed || !strings.Contains(errs, want) {
			t.Errorf("%s: %d %s%s", addr, code, out, errs)
		}
	}
}
