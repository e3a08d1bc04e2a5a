# `make help` lists the targets. Each `## …` is its line there.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# Where everything is built, whatever the caller's settings for Cargo say: the program is target/release/keyfold.
export CARGO_TARGET_DIR := $(CURDIR)/target

CARGO := cargo
CHECKS := check-format check-scripts check-imports check-deploy docs-site check-lints check-docs check-dependencies
PYTHON_TOOLS := target/test-tools/python/bin

.PHONY: help
help: ## List these targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{ printf "%-28s %s\n", $$1, $$2 }'

.PHONY: run
run: build ## Install what is missing, build, and serve local mode on http://127.0.0.1:8000 (PORT=… for another port)
	@DEBUG=true exec target/release/keyfold serve

.PHONY: build
build: build-tools page ## Build the program with its page: target/release/keyfold
	$(CARGO) build --release --locked -p keyfold-server --bin keyfold

.PHONY: page
page: ## Build the web page into frontend/dist, if Node is there
	@scripts/build-page.sh

.PHONY: test
test: build-tools page ## Install what the tests need, and run all of them
	@scripts/install-test-tools.sh
	$(CARGO) test --workspace --locked --no-fail-fast
	@scripts/test-typescript.sh
	@scripts/test-page.sh

.PHONY: test-page
test-page: build-tools page ## Check the page, and test it in Chromium (a part of `test`; TESTS=keyboard: those only)
	@scripts/install-test-tools.sh
	$(CARGO) build --locked -p keyfold-server -p keyfold-standin -p keyfold-test-servers
	@scripts/test-page.sh $(TESTS)

.PHONY: screenshots
screenshots: build-tools page ## Take pictures of every view into target/screenshots (README=1: the README's)
	@scripts/install-test-tools.sh
	$(CARGO) build --locked -p keyfold-server -p keyfold-standin -p keyfold-test-servers
	@scripts/screenshots.sh

.PHONY: test-typescript
test-typescript: build-tools ## Check, build and test the TypeScript client against the programs (a part of `test`)
	$(CARGO) build --locked -p keyfold-server -p keyfold-standin -p keyfold-test-servers
	@scripts/test-typescript.sh

.PHONY: check
check: fuzz-tools ## Check format, lints, documentation, imports and dependencies
	+@scripts/stages.sh $(CHECKS)

.PHONY: check-format
check-format:
	$(CARGO) fmt --all --check

.PHONY: check-scripts
check-scripts:
	@for script in scripts/*.sh deploy/*.sh; do sh -n "$$script" || exit 1; done
	@bash -n .ci/run
	@if command -v shellcheck >/dev/null; then shellcheck scripts/*.sh deploy/*.sh .ci/run; fi

.PHONY: check-imports
check-imports:
	@scripts/check-imports.sh

.PHONY: docs-site
docs-site: ## Make the documentation's site: target/site
	@scripts/docs-site.sh

.PHONY: check-deploy
check-deploy: ## Check the files with which Keyfold is deployed
	@scripts/check-deploy.sh

.PHONY: check-lints
check-lints:
	$(CARGO) clippy --workspace --all-targets --locked --keep-going -- -D warnings

.PHONY: check-docs
check-docs:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --lib --no-deps --document-private-items --locked

.PHONY: check-dependencies
check-dependencies:
	@scripts/check-dependencies.sh

.PHONY: fuzz
fuzz: fuzz-tools ## Feed the fuzz targets for a minute each (SECONDS=…; TARGET=env_file, …: that one only)
	@scripts/fuzz.sh $(or $(SECONDS),60) $(TARGET)

.PHONY: fuzz-smoke
fuzz-smoke: fuzz-tools ## Feed each fuzz target a fixed number of inputs
	@scripts/fuzz.sh smoke

.PHONY: bench
bench: build-tools ## Measure, and print each figure beside its floor of the same run
	$(CARGO) run --release --locked -p keyfold-bench

.PHONY: bench-gateway
bench-gateway: build ## Measure the gateway beside nginx and the bare provider, in some ten minutes (PART=quick: in one)
	@scripts/install-bench-tools.sh || echo "going on without them"
	$(CARGO) build --release --locked -p keyfold-gateway-bench
	target/release/keyfold-gateway-bench $(PART)

# Frame pointers let `perf` see who called whom.
.PHONY: profile-gateway
profile-gateway: build-tools ## Show where the gateway's time goes, with perf
	@scripts/install-bench-tools.sh || echo "going on without them"
	RUSTFLAGS="-C force-frame-pointers=yes" $(CARGO) build --profile profiling --locked -p keyfold-server --bin keyfold
	$(CARGO) build --release --locked -p keyfold-gateway-bench
	KEYFOLD_BENCH_PROGRAM=target/profiling/keyfold target/release/keyfold-gateway-bench profile

# The wheel is for every CPython from 3.9 on. Where it was built decides from which glibc on.
.PHONY: python
python: build-tools ## Build the Python package: a wheel and an sdist in target/wheels
	@scripts/install-test-programs.sh python
	rm -rf target/wheels
	cd crates/keyfold-python && ../../$(PYTHON_TOOLS)/maturin build --release --locked --out ../../target/wheels
	cd crates/keyfold-python && ../../$(PYTHON_TOOLS)/maturin sdist --out ../../target/wheels

.PHONY: test-python
test-python: build-tools ## Test the Python package only
	@scripts/install-test-programs.sh python
	$(CARGO) test --workspace --locked --no-run --test program --test docs
	$(CARGO) test --workspace --locked --test python

.PHONY: bench-python
bench-python: build python ## Measure the Python package beside a look-up with SQLAlchemy in the same run
	$(PYTHON_TOOLS)/python -m zipfile -e target/wheels/keyfold-*.whl target/wheels/unpacked
	KEYFOLD_TEST_PROGRAMS=$(CURDIR)/target/release PYTHONPATH=$(CURDIR)/target/wheels/unpacked \
	    $(PYTHON_TOOLS)/python crates/keyfold-python/benches/contexts.py

.PHONY: leak-demo
leak-demo: build-tools ## Show how keys in the environment reach other users' requests, and Keyfold's do not
	@scripts/install-test-tools.sh
	$(CARGO) test --locked -p keyfold-server --test leak_demo -- --nocapture

.PHONY: docs-reference
docs-reference: build-tools ## Bring docs/settings.md and docs/errors.md up to date with the code
	UPDATE=1 $(CARGO) test --locked -p keyfold-server --test docs reference

.PHONY: docs-clients
docs-clients: build-tools ## Run the providers' client libraries, and write what worked into docs/clients.md
	@scripts/install-test-tools.sh
	UPDATE=1 $(CARGO) test --locked -p keyfold-server --test clients

.PHONY: typescript-schema
typescript-schema: build-tools ## Bring the TypeScript client's openapi.json and types up to date with the server
	UPDATE=1 $(CARGO) test --locked -p keyfold-server --test docs typescript
	@scripts/test-typescript.sh generate

.PHONY: fmt
fmt: ## Format the code
	$(CARGO) fmt --all

.PHONY: clean
clean: ## Remove what was built; the tools that `check` and `test` installed stay
	find target -mindepth 1 -maxdepth 1 ! -name tools ! -name test-tools -exec rm -rf {} +

.PHONY: build-tools
build-tools:
	@scripts/need-build-tools.sh

.PHONY: fuzz-tools
fuzz-tools:
	@scripts/need-build-tools.sh c++
