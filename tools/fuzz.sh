#!/bin/sh
# Runs each fuzz target of the module for the time given.
set -eu
cd "$(dirname "$0")/.."
for package in $(go list ./...); do
	for target in $(go test -list '^Fuzz' "$package" 2>/dev/null | grep '^Fuzz' || true); do
		echo "== $package $target"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "${1-30s}" -fuzzminimizetime 5x "$package"
	done
done
