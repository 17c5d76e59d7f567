# make up      set up what is missing, build, run the demo mesh; leaves ./portcullis
# make test    set up what tests need, run them all
# make test-long  the same targets of tests/fuzz as make test with 50 times as many inputs, and a million random sets of policies: many minutes
# CONTRIBUTING.md has the rest.

SHELL := /bin/sh
# What scripts/setup linked stands last: the versions on PATH are used first.
export PATH := $(PATH):$(HOME)/.cargo/bin:$(CURDIR)/.tools/bin
CARGO ?= cargo
# Arguments of `portcullis up`: make up ARGS="--http 9090"
ARGS ?=

.DEFAULT_GOAL := build
.PHONY: up build test test-long lint fmt clippy doc setup setup-test clean

up: build
	exec ./portcullis up $(ARGS)

build: setup
	$(CARGO) build --locked --profile laptop --bin portcullis
	ln -sfn "$${CARGO_TARGET_DIR:-target}/laptop/portcullis" portcullis

setup:
	@scripts/setup build

setup-test:
	@scripts/setup test

# Documentation tests first: cargo's own result lines of the tests stand at the end.
test: setup-test
	$(CARGO) test --locked --workspace --doc
	$(CARGO) test --locked --workspace --all-targets

# FUZZ_ROUNDS (50) says how many times as many inputs as in `make test`, FUZZ_SEED (2) which ones.
test-long: setup-test
	$(CARGO) test --locked -p fuzz-targets --test stable -- --ignored --nocapture
	$(CARGO) test --locked -p authz --test reference -- --ignored --nocapture

lint: fmt clippy doc

fmt:
	$(CARGO) fmt --all --check

clippy: setup
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

doc: setup
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --document-private-items

clean:
	$(CARGO) clean
	rm -rf portcullis .tools
