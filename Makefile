# The tasks of this repository; `make help` lists them. scripts/ and cargo do the work.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help run demo test soak check bench bench-peers count count-check fuzz mutants fmt

CARGO ?= cargo
# Each must pass `doorwarden check`; the file in the repository's root documents every key.
SAMPLES := gateway.toml $(wildcard docker/*.toml)

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## build and start the gateway in front of the Django service, and print commands to try
	@CARGO="$(CARGO)" scripts/run

demo: ## run the commands that `make run` prints, against what it started
	@scripts/demo

test: ## run the unit, property, contract and integration tests, the browser tests and the tests of the alert rules
	@scripts/setup
	@scripts/setup-test
	scripts/test-docker
	$(CARGO) test --locked

soak: ## run the long tests: WebSockets, restarts, reloads and kills under load, floods, guesses, simulated months, projects with real packages
	@scripts/setup
	@scripts/setup-test
	DOORWARDEN_SOAK=1 $(CARGO) test --locked --test gateway -- framing:: reload:: supervised:: notify::crash guessing:: --nocapture --test-threads=1
	$(CARGO) test --locked --test gateway -- --ignored --nocapture soak

check: ## check formatting, lints, documentation, dependencies and sample configurations
	@scripts/setup
	@scripts/setup-check
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps
	.tools/bin/cargo-deny --locked check bans licenses sources
	for sample in $(SAMPLES); do $(CARGO) run --locked --quiet -- check --file-only --config "$$sample"; done

bench: ## run the benchmarks of the pure parts, then measure CPU time and instructions per request beside a bare proxy
	@scripts/setup
	@scripts/setup-bench
	$(CARGO) bench --locked
	$(MAKE) count

count: ## count instructions per request with callgrind; writes benches/instructions.txt
	@scripts/setup
	@scripts/setup-bench
	$(CARGO) bench --locked --profile counted --bench whole -- count

count-check: ## compare the instructions of a checked request with benches/instructions.txt
	@scripts/setup
	@scripts/setup-bench
	$(CARGO) bench --locked --profile counted --bench whole -- count --check

bench-peers: ## measure CPU time per request beside nginx, HAProxy and Envoy
	@scripts/setup
	@scripts/setup-peers
	$(CARGO) bench --locked --bench whole -- peers

fuzz: ## fuzz every parser of untrusted bytes, an hour each, one on each core (FUZZ_SECONDS=60 for a short run)
	@scripts/setup
	scripts/fuzz

mutants: ## mutate the deciding functions, one place at a time, and list mutants that no unit test detects (hours; MUTANTS_SHARD=0/8 for a part)
	@scripts/setup
	scripts/mutants $(MUTANTS_SHARD)

fmt: ## format the Rust code
	$(CARGO) fmt
