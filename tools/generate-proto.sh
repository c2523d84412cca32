#!/bin/sh
# Generates the Go of every schema, with the tools pinned in tools/: internal/abi/abipb from
# abi/proto, internal/ledger/ledgerpb from plugins/ledger/proto.
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

for dir in internal/abi/abipb internal/ledger/ledgerpb; do
	if [ "${1-}" = --check ]; then
		if ! diff -ru -x doc.go "$dir" "$scratch/$dir"; then
			echo "$dir is not what its schema gives: run tools/generate-proto.sh and commit what it writes" >&2
			exit 1
		fi
		continue
	fi
	find "$dir" -name '*.pb.go' -delete 2>/dev/null || mkdir -p "$dir"
	cp "$scratch/$dir"/*.pb.go "$dir/"
done
