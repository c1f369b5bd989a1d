#!/bin/sh
# Compiles the test programs of the core. P4C names p4c's BMv2 back end (default: p4c-bm2-ss on PATH).
set -eu
cd "$(dirname "$0")"
P4C=${P4C:-p4c-bm2-ss}
for program in arithmetic.p4 checksums.p4 lookup_lpm.p4 lookup_range.p4 \
    lookup_ternary.p4 parser.p4 tables.p4 traffic.p4; do
    "$P4C" --arch v1model -o "${program%.p4}.json" "$program"
done
# The fixture of the P4Runtime server needs its P4Info too.
"$P4C" --arch v1model --p4runtime-files everything.p4info.txtpb -o everything.json everything.p4
# The STF programs, one a concern.
for program in stf/*.p4; do
    "$P4C" --arch v1model -o "${program%.p4}.json" "$program"
done
"$P4C" --arch v1model --p4runtime-files stf/stf_runner.p4info.txtpb -o stf/stf_runner.json stf/stf_runner.p4
