# What one does with this repository; `make` lists it.

CARGO ?= cargo
# All test failures at once where nobody watches.
PROFILE := $(if $(CI),ci,default)

.PHONY: help run test install format lint licenses tests soak bench

help:
	@echo 'make run     build and start docxy on 127.0.0.1:5000'
	@echo 'make test    install what is missing, then everything that must hold before a commit'
	@echo 'make tests   only the tests'
	@echo 'make soak    the long tests'
	@echo 'make bench   the figures of docs/benchmarks.md'

run:
	$(CARGO) run --release --locked

test: install format lint licenses tests

install:
	ci/install-packages
	ci/install-cargo-tools
	$(CARGO) fetch --locked
	ci/install-sid-clients target/real-clients/sid

format:
	$(CARGO) fmt --check

lint:
	$(CARGO) clippy --all-targets --locked -- -D warnings

# The advisory database would need another network than the package index.
licenses:
	$(CARGO) deny --offline check bans licenses sources

tests:
	$(CARGO) nextest run --locked --profile $(PROFILE)
	$(CARGO) test --doc --locked
	if [ -e fuzz/Cargo.toml ]; then $(CARGO) check --manifest-path fuzz/Cargo.toml --target-dir target; fi

# Tests that take long are ignored by default and have `soak` in their names.
soak:
	$(CARGO) nextest run --locked --cargo-profile soak --no-tests pass --run-ignored only -E 'test(/soak/)'

bench:
	$(CARGO) bench --locked --bench forward
	$(CARGO) bench --locked --bench cache
