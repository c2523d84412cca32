#!/bin/sh
# Builds the committed Go guests, byte for byte the same on every machine with
# the same Go version: memory.wasm, and the version of Go beside it.
#
#   tools/build-guests.sh [FOLDER]     into FOLDER; without one, over the committed file
#
# The compiler inlines what profile.pgo has as hot. It is from a native run of the calls of a
# module, and of use for as long as these are roughly the same:
#
#   go test -trimpath ./sdk/guest -run '^$' -bench Exports -benchtime 3s -cpuprofile plugins/memory/wasm/profile.pgo
set -eu
cd "$(dirname "$0")/.."
out=${1-plugins/memory/module}
GOFLAGS= GOWORK=off GOWASM= CGO_ENABLED=0 GOOS=wasip1 GOARCH=wasm \
	go build -buildvcs=false -trimpath -buildmode=c-shared -ldflags='-s -w' -pgo=plugins/memory/wasm/profile.pgo -o "$out/memory.wasm" ./plugins/memory/wasm
go env GOVERSION >"$out/memory.go-version"
