#!/bin/sh
# Builds the committed C guests, those of internal/carrier/wasmhost's tests and the example, byte
# for byte the same on every machine with the same clang and lld, whose version is
# recorded beside them. Debian: apt-get install --no-install-recommends clang lld
#
#   tools/build-c-guests.sh            over the committed files
#   tools/build-c-guests.sh --check    compare only; nothing to compare with another clang
set -eu
cd "$(dirname "$0")/../internal/carrier/wasmhost/testdata/guests"
version=$(clang --version | sed -n '1s/.*clang version \([0-9.]*\).*/\1/p')
example=../../../../../examples/thirdparty-c
out=. shelf=$example
if [ "${1-}" = --check ]; then
	if [ "$version" != "$(cat clang-version)" ]; then
		echo "the guests were built with clang $(cat clang-version) and this is $version, which writes other bytes: not compared" >&2
		exit 0
	fi
	out=$(mktemp -d) shelf=$out
	trap 'rm -rf "$out"' EXIT
fi

# build NAME SOURCE [-DMACRO…]: the stack lies below the data, so that running
# over its end is a trap, not an overwritten answer.
build() {
	name=$1 source=$2
	shift 2
	clang --target=wasm32-unknown-unknown -std=c11 -Os -Wall -Wextra -Werror -Wno-unused -Wno-unused-parameter \
		-ffreestanding -fno-ident -nostdlib -mbulk-memory -msign-ext -msimd128 "$@" -c -o "$out/$name.o" "$source"
	wasm-ld --no-entry --strip-all --stack-first -z stack-size=65536 -o "$out/$name.wasm" "$out/$name.o"
	rm "$out/$name.o"
	chmod 644 "$out/$name.wasm"
}

build kv kv.c
build hostile hostile.c
build parrot parrot.c

# The example, as its README has it built.
clang --target=wasm32-unknown-unknown -std=c11 -O2 -Wall -Wextra -Werror -ffreestanding -fno-ident -nostdlib -mbulk-memory \
	-Wl,--no-entry -Wl,--strip-all -Wl,--stack-first -o "$shelf/shelf.wasm" "$example/shelf.c"
chmod 644 "$shelf/shelf.wasm"

if [ "$out" = . ]; then
	echo "$version" >clang-version
	exit
fi
for built in "$out"/*.wasm; do
	committed=$(basename "$built")
	[ "$committed" != shelf.wasm ] || committed=$example/shelf.wasm
	cmp "$built" "$committed" || { echo "run make generate and commit what it builds" >&2; exit 1; }
done
