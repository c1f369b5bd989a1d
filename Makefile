# topicswitch: the two commands of the README are `make demo` and `make test`.

CARGO ?= cargo
# Everything that `make test` installs or builds, so that a test that misses one of them fails
# instead of being skipped. `bmv2` and `p4c` are used where they are on PATH and not required.
REQUIRE = netns,mininet,tshark,pypi-p4runtime,pypi-mqtt-sn-12,pypi-mqttsn,pypi-p4runtime-shell,pypi-finsy,pypi-ptf,openssl
# Property tests draw the same cases in every `make test`, so that a failure is the change's and not the
# dice's; `make soak` throws the dice.
PROPTEST_RNG_SEED ?= 1
ROUNDS ?= 20
# Seconds of whole-system histories in each round of the soak.
SOAK ?= 60
PROPERTIES = mqttsn p4runtime dtls broker controller sim
PACKAGES = iproute2 ethtool mininet openssl tshark python3-venv python3-pip ca-certificates

.PHONY: help build demo test soak deps lint bench p4 clean

help: ## list the targets
	@sed -n 's/^\([a-z0-9]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

build: ## build the one binary, target/release/topicswitch
	$(CARGO) build --release --locked --package topicswitch

demo: build ## show the main job on the embedded target (no root, under two minutes)
	target/release/topicswitch demo

test: deps lint ## install what the tests need (as root) and run them all
	TOPICSWITCH_BUILT=1 TOPICSWITCH_REQUIRE="$(REQUIRE)" PROPTEST_RNG_SEED=$(PROPTEST_RNG_SEED) \
	    $(CARGO) test --locked --workspace

soak: ## property tests and whole-system histories with other cases (ROUNDS=20, SOAK=60 s), up to the first failure; larger worlds of the model
	@for round in $$(seq $(ROUNDS)); do \
	    seed=$$(od -An -N4 -tu4 /dev/urandom | tr -d ' '); \
	    echo "round $$round of $(ROUNDS): PROPTEST_RNG_SEED=$$seed"; \
	    PROPTEST_RNG_SEED=$$seed $(CARGO) test --quiet --locked $(patsubst %,--package %,$(PROPERTIES)) \
	        || { echo "failed: repeat with PROPTEST_RNG_SEED=$$seed" >&2; exit 1; }; \
	    TOPICSWITCH_SOAK=$(SOAK) $(CARGO) test --quiet --release --locked --package system-tests --test histories \
	        -- --ignored other_seeds in_the_end || exit 1; \
	done
	$(CARGO) test --quiet --locked --package model -- --ignored --test-threads 1

deps: ## install the Debian packages that the tests need
	@missing=""; for p in $(PACKAGES); do \
	    dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; \
	done; \
	if [ -n "$$missing" ]; then \
	    [ "$$(id -u)" = 0 ] || { echo "make test needs these packages:$$missing; run it as root, or install them" >&2; exit 1; }; \
	    export DEBIAN_FRONTEND=noninteractive; \
	    apt-get update && apt-get install -y --no-install-recommends $$missing; \
	fi

lint: ## format and lints; warnings are errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

# PEER_RSMB=path/to/broker_mqtts adds the comparison with RSMB, BENCH_JSON=FILE writes the figures there.
ifdef PEER_RSMB
bench: export PEER_RSMB := $(abspath $(PEER_RSMB))
endif
# PEER_SIMPLE_SWITCH=path/to/simple_switch_grpc and PEER_TESTPMD=path/to/dpdk-testpmd do so for the switch.
ifdef PEER_SIMPLE_SWITCH
bench: export PEER_SIMPLE_SWITCH := $(abspath $(PEER_SIMPLE_SWITCH))
endif
ifdef PEER_TESTPMD
bench: export PEER_TESTPMD := $(abspath $(PEER_TESTPMD))
endif
ifdef BENCH_JSON
bench: export BENCH_JSON := $(abspath $(BENCH_JSON))
endif
bench: ## run the benchmarks (figures: docs/benchmarks.md)
	$(CARGO) bench --locked --package mqttsn --package broker --package sim --package topicswitch \
	    --bench codec --bench forward --bench matching --bench pipeline --bench up_latency
	$(CARGO) bench --locked --package sim --bench peers
	$(CARGO) bench --locked --package sim --bench p4runtime
	$(CARGO) bench --locked --package topicswitch --bench broker

p4: ## compile the P4 program (needs p4c; P4C names its BMv2 back end)
	p4src/compile.sh

clean: ## remove what was built
	$(CARGO) clean
