# `make help` lists the verbs. The work is done by the scripts in tools/ci, so that CI and people run
# the same thing.
SHELL := bash
.DEFAULT_GOAL := help
CI := tools/ci

.PHONY: help
help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  \033[1mmake %-12s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## start everything, play the story, stay up (PORT, DEMO_DATA, DEMO_EXIT=1, OPENAI_API_KEY, ANTHROPIC_API_KEY)
	@$(CI)/run.sh demo

.PHONY: dev
dev: ## start everything and stay up; data in ./data/dev (ARGS="--seed FILE.yaml …")
	@$(CI)/run.sh dev --data data/dev $(ARGS)

.PHONY: build
build: ## build .bin/claviger, with the pages of the admin if Node.js is there
	@$(CI)/run.sh version

.PHONY: web
web: ## build the pages of the admin, for Go to embed; needs Node.js 20.19
	@$(CI)/web.sh

.PHONY: test
test: ## run every test against real Postgres, Vault and NATS (ARGS="-run Name")
	@$(CI)/test.sh $(ARGS)

.PHONY: race
race: ## run every test under the race detector
	@$(CI)/test.sh --race $(ARGS)

.PHONY: e2e
e2e: ## run the end-to-end tests alone
	@$(CI)/test.sh --e2e $(ARGS)

.PHONY: screenshots
screenshots: ## open every page in Chromium, and leave pictures of it in .cache/screenshots (CLAVIGER_SCREENSHOTS=DIR)
	@go test -count=1 ./tools/e2e/browser
	@ls "$${CLAVIGER_SCREENSHOTS:-.cache/screenshots}"/*.png

.PHONY: fuzz
fuzz: ## fuzz every target in turn (FUZZTIME=20s)
	@$(CI)/fuzz.sh

.PHONY: bench
bench: ## measure the router against a direct call and a bare proxy, in one run
	@$(CI)/bench.sh

.PHONY: bench-check
bench-check: ## the same and bench-usage, and fail outside the bounds; micro-benchmarks may not allocate more than their base
	@$(CI)/bench.sh --check

.PHONY: bench-usage
bench-usage: ## time what the usage page asks of a Postgres with a million events
	@$(CI)/bench.sh --usage

.PHONY: bench-micro
bench-micro: ## run the micro-benchmarks (BENCH=regexp, BENCHTIME, BENCHCOUNT)
	@$(CI)/bench.sh --micro

.PHONY: bench-base
bench-base: ## run the micro-benchmarks and make them the base
	@$(CI)/bench.sh --update

.PHONY: fmt
fmt: ## format Go code and contracts
	@$(CI)/lint.sh --fix
	@$(CI)/tools.sh buf
	@.bin/buf format proto -w

.PHONY: lint
lint: ## run the linters
	@$(CI)/lint.sh

.PHONY: generate
generate: ## format and lint the contracts and generate proto/gen
	@$(CI)/generate.sh

.PHONY: tools
tools: ## build the pinned tools into .bin
	@$(CI)/tools.sh

.PHONY: setup
setup: tools ## build the tools and fetch what later needs no network
	@for module in $$(sed -n 's#^[[:space:]]*\./\(.*\)$$#\1#p' go.work); do (cd $$module && go mod download); done

.PHONY: ci
ci: ## what CI runs, in the same order
	@.ci/run

.PHONY: clean
clean: ## remove what was built, and caches of tools
	@rm -rf .bin .cache services/keys/web/dist/*
