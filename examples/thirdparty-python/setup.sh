#!/bin/sh
# Installs into the folder that it is given what plugin.py needs: a virtual
# environment, and the code that is generated from the schema.
#
#	./setup.sh .venv
set -eu
dir=${1:?usage: ./setup.sh DIR}
here=$(cd "$(dirname "$0")" && pwd)
# Made anew when what it is made from has changed.
stamp=$(cat "$here/requirements.txt" "$here/../../abi/proto/plinth/backend/v1/backend.proto" "$0" | cksum)
if [ "$(cat "$dir/stamp" 2>/dev/null)" = "$stamp" ]; then
	exit 0
fi
rm -rf "$dir"
python3 -m venv "$dir"
"$dir/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
site=$("$dir/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
"$dir/bin/python" -m grpc_tools.protoc -I "$here/../../abi/proto" --python_out="$site" --grpc_python_out="$site" plinth/backend/v1/backend.proto
echo "$stamp" >"$dir/stamp"
