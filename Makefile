# `make` lists the targets. Each of them installs what the machine lacks (scripts/bootstrap).
SHELL := /bin/bash
.DEFAULT_GOAL := help
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/marquee
# Non-login shells often lack the first three; the last is where Debian keeps nginx.
export PATH := $(CACHE)/node/bin:$(HOME)/.cargo/bin:/usr/local/go/bin:$(PATH):/usr/sbin
export S3
STACK := target/debug/stack
HOST ?= localhost

.PHONY: help
help: ## This list
	@printf 'usage: make TARGET\n\n'
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@printf '\nS3=radosgw uses Ceph'\''s gateway as the S3 server instead of MinIO; HOST=name|address (demo, up) lets other machines in.\n'

.PHONY: demo
demo: ## The whole platform with a synthetic broadcast, in the foreground; Ctrl-C stops it
	@scripts/build demo
	@exec $(STACK) demo --host $(HOST)

.PHONY: up
up: ## The whole platform in the background; .local/stack.json tells where everything is
	@scripts/build demo
	@$(STACK) up --host $(HOST)

.PHONY: down
down: ## Stop it (the data stays; rm -r .local removes it)
	@test ! -x $(STACK) || $(STACK) down

.PHONY: test
test: ## Everything CI runs: lint, every test against real servers, the web, end to end
	@scripts/test

.PHONY: lint
lint: ## Format check and clippy, warnings denied
	@scripts/bootstrap
	@scripts/lint

.PHONY: fmt
fmt: ## Format all sources
	@cargo fmt --all
	@test ! -d web/node_modules || npm --prefix web run --silent format

.PHONY: infra
infra: ## Only PostgreSQL, Redis, Kafka and MinIO, for `cargo test`
	@scripts/bootstrap
	@cargo build --quiet --package marquee-testkit --bins
	@$(STACK) infra up

.PHONY: infra-down
infra-down: ## Stop them and remove their data
	@test ! -x $(STACK) || $(STACK) infra down

.PHONY: e2e
e2e: ## End-to-end tests only: real SRT in, a real browser out (FILES="e2e/test/x.test.mjs" picks)
	@scripts/build test
	@scripts/e2e $(FILES)

.PHONY: e2e-compose
e2e-compose: ## The same on docker compose: images built, all of it up, a project of its own (FILES picks, KEEP=1 leaves it up)
	@scripts/e2e-compose $(FILES)

.PHONY: soak
soak: ## The end-to-end tests again and again for SOAK_MIN minutes (default 30), watching for leaks
	@scripts/build test
	@SOAK_MIN=$${SOAK_MIN:-30} scripts/e2e $(FILES)

.PHONY: bench
bench: ## The benchmarks, results in bench/RESULTS.md
	@scripts/bootstrap
	@bench/run
