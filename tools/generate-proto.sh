#!/bin/sh
# Generates abi/abipb from abi/proto, with the tools pinned in tools/.
#
#   tools/generate-proto.sh            writes the files
#   tools/generate-proto.sh --check    fails if they are not what would be written
set -eu
cd "$(dirname "$0")/.."
# What a caller has set must not decide what comes out.
export GOFLAGS= GOWORK=off LC_ALL=C

case "${1-}" in
'' | --check) ;;
*)
	echo "usage: $0 [--check]" >&2
	exit 2
	;;
esac

buf() { go tool -modfile=tools/buf/go.mod buf "$@"; }

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT INT TERM
buf lint
buf generate -o "$scratch"

if [ "${1-}" = --check ]; then
	if ! diff -ru -x doc.go abi/abipb "$scratch/abi/abipb"; then
		echo "abi/abipb is not what abi/proto gives: run tools/generate-proto.sh and commit what it writes" >&2
		exit 1
	fi
	exit 0
fi
find abi/abipb -name '*.pb.go' -delete 2>/dev/null || mkdir -p abi/abipb
cp "$scratch"/abi/abipb/*.pb.go abi/abipb/
