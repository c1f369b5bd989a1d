#!/bin/sh
# Compiles mqttsn.p4 and writes compiled/ with a manifest of what it was made from.
# P4C names the compiler's BMv2 back end (default: p4c-bm2-ss on PATH).
set -eu
cd "$(dirname "$0")"
P4C=${P4C:-p4c-bm2-ss}
command -v "$P4C" >/dev/null || { echo "no $P4C on PATH: set P4C to p4c's BMv2 back end (p4c-bm2-ss)" >&2; exit 1; }
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
# p4c warns that a table with an action profile has no default action on BMv2, and offers no way to
# leave that action out; every other warning is an error.
"$P4C" --arch v1model --Werror --Wdisable=unsupported \
    --p4runtime-files "$out/mqttsn.p4info.txt" -o "$out/mqttsn.json" mqttsn.p4 2>"$out/messages" || true
if [ -s "$out/messages" ]; then cat "$out/messages" >&2; exit 1; fi
mkdir -p compiled
mv "$out/mqttsn.json" compiled/mqttsn.json
mv "$out/mqttsn.p4info.txt" compiled/mqttsn.p4info.txtpb
{
    echo "# What compiled/ was made from: p4c's version, then sha256 of each source and of each output."
    echo "# Written by compile.sh (make p4); a test fails when a source has moved on."
    "$P4C" --version 2>&1 | grep -i version | head -n 1 | sed 's/^/# /'
    sha256sum ./*.p4 compiled/mqttsn.json compiled/mqttsn.p4info.txtpb | sed 's|\./||'
} > compiled/MANIFEST
