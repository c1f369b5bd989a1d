#!/bin/sh
# Compiles mqttsn.p4 and writes compiled/ with a manifest of what it was made from.
# P4C names the compiler's BMv2 back end (default: p4c-bm2-ss on PATH).
set -eu
cd "$(dirname "$0")"
P4C=${P4C:-p4c-bm2-ss}
command -v "$P4C" >/dev/null || { echo "no $P4C on PATH: set P4C to p4c's BMv2 back end (p4c-bm2-ss)" >&2; exit 1; }
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
"$P4C" --arch v1model \
    --p4runtime-files "$out/mqttsn.p4info.txt" -o "$out/mqttsn.json" mqttsn.p4 2>"$out/messages" ||
    { cat "$out/messages" >&2; exit 1; }
# A warning is an error, but for one: p4c says of every table with an action profile that BMv2 takes
# no default action there, and the language has no way to leave that action out.
if grep -E 'warning:|error:' "$out/messages" |
    grep -v 'Target does not support default_action for MqttsnIngress.shared_topic'; then
    cat "$out/messages" >&2
    exit 1
fi
mkdir -p compiled
mv "$out/mqttsn.json" compiled/mqttsn.json
mv "$out/mqttsn.p4info.txt" compiled/mqttsn.p4info.txtpb
{
    echo "# What compiled/ was made from: p4c's version, then sha256 of each source and of each output."
    echo "# Written by compile.sh (make p4); a test fails when a source has moved on."
    "$P4C" --version 2>&1 | sed -n 's/^Version/# p4c/p'
    sha256sum ./*.p4 compiled/mqttsn.json compiled/mqttsn.p4info.txtpb | sed 's|\./||'
} > compiled/MANIFEST
