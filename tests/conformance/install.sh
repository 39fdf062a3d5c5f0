#!/bin/sh
# Install what the conformance tests need, all of it from npm and the Python package index:
# Node 22, the official conformance suite, the Inspector, and the SDK's everything-server.
#
#   tests/conformance/install.sh [DIR]
#
# DIR is $HUB_CONFORMANCE, else omni-hub/conformance in the user's cache. Needs npm, pip and tar.
# What is there already, in the right version, is left alone.
set -eu

SUITE=0.2.0-alpha.12
INSPECTOR=2.12.0
NODE=22.23.3
SDK=2.3.0

dir=${1:-${HUB_CONFORMANCE:-${XDG_CACHE_HOME:-$HOME/.cache}/omni-hub/conformance}}
stamp="$SUITE $INSPECTOR $NODE $SDK"
if [ "$(cat "$dir/installed" 2>/dev/null || true)" = "$stamp" ]; then
    echo "$dir is up to date"
    exit 0
fi

mkdir -p "$dir"
rm -f "$dir/installed"

case "$(uname -s)" in Darwin) system=darwin ;; *) system=linux ;; esac
case "$(uname -m)" in arm64 | aarch64) machine=arm64 ;; *) machine=x64 ;; esac
# The package `node` only fetches one of these in an install script, which newer npms do not run.
npm install --prefix "$dir" --no-audit --no-fund --ignore-scripts --silent \
    "node-bin@npm:node-$system-$machine@$NODE" \
    "@modelcontextprotocol/conformance@$SUITE" \
    "@modelcontextprotocol/inspector@$INSPECTOR"

# The everything-server is an example in the SDK's source distribution and in no wheel.
python3 -m pip download --quiet --no-deps --no-binary :all: --dest "$dir" "mcp==$SDK"
tar -xzf "$dir/mcp-$SDK.tar.gz" -C "$dir" --strip-components 3 "mcp-$SDK/examples/servers/everything-server"

"$dir/node_modules/node-bin/bin/node" --version
echo "$stamp" >"$dir/installed"
