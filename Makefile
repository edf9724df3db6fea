# The only door: `make help` lists what there is. Needs Python >= 3.11 with venv, a C compiler and make.

PYTHON ?= python3
PORT ?= 5060
HTTP_PORT ?= 8080
DATABASE ?= var/presence.db
POLICY ?= open
ARGS ?=
FUZZ_SECONDS ?= 30
N ?= 20000

VENV := .venv
BIN := $(VENV)/bin
CORE := $(wildcard presence/_fastcore.pyx presence/_fastcore.pxd presence/_fast/*.pxi)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  Variables: PYTHON=$(PYTHON) PORT=$(PORT) HTTP_PORT=$(HTTP_PORT) DATABASE=$(DATABASE) POLICY=$(POLICY)"
	@echo "             ARGS='...' goes to presence serve, or to pytest"

.PHONY: run
run: .make/run ## Start the server on loopback (SIP on PORT, HTTP on HTTP_PORT)
	@mkdir -p "$(dir $(DATABASE))"
	@exec $(BIN)/presence serve --listen udp:127.0.0.1:$(PORT) --listen tcp:127.0.0.1:$(PORT) \
	    --http 127.0.0.1:$(HTTP_PORT) --database "$(DATABASE)" --policy $(POLICY) $(ARGS)

.PHONY: test
test: lint ## Check everything: style, types, architecture, all tests; in CI under the sanitizers too
	@$(BIN)/python -m pytest $(ARGS)
	@if [ -n "$$CI" ]; then $(MAKE) --no-print-directory test-asan; fi

.PHONY: lint
lint: .make/core ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/stubtest presence._fastcore --allowlist .ci/stubtest.txt --ignore-unused-allowlist --ignore-disjoint-bases

.PHONY: dev
dev: .make/core ## Make .venv ready for working: editable, with every tool

.PHONY: format
format: .make/core ## Put the source into its form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: docs
docs: .make/core ## Write the pages that are made from the source
	$(BIN)/presence config --markdown > docs/configuration.md
	cd tests && ../$(BIN)/python -m torture.cases > ../docs/torture.md

.PHONY: bench
bench: .make/core ## Measure the parts and the whole server, under five minutes (see bench/README.md)
	$(BIN)/python -m pytest bench -o python_files='bench_*.py' -p no:randomly --benchmark-only -rs $(ARGS)
	$(BIN)/presence bench --quick

.PHONY: bench-check
bench-check: .make/core ## Fail when a ratio fell by more than 25 % since bench/baseline.json was written
	$(BIN)/presence bench --quick --runs 5 --check bench/baseline.json $(ARGS)

.PHONY: bench-peers
bench-peers: .make/core ## Measure beside Kamailio; as root it is installed first
	@if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
	    apt-get update -qq && apt-get install -y -qq --no-install-recommends \
	    kamailio kamailio-presence-modules kamailio-sqlite-modules; fi
	$(BIN)/presence bench requests fanout --peer kamailio $(ARGS)

.PHONY: test-peers
test-peers: .make/peers ## Test against pjsua, baresip, linphonec, SIPp and SIP.js
	$(BIN)/python -m pytest -m peer -rs $(ARGS)

# What touches the core; the rest starts processes, or would take too long (docs/testing.md).
SANITIZED := tests/unit tests/conformance tests/store tests/property tests/simulated tests/abuse tests/fuzz \
    --ignore tests/unit/test_docs.py
INSTRUMENTED := $(BIN)/python tests/instrumented/build.py

.PHONY: test-asan
test-asan: .make/core ## Test the core built with AddressSanitizer and UBSan
	@rm -f .make/asan/report.*
	@PRESENCE_HISTORIES=100 PRESENCE_EXAMPLES=60 $(INSTRUMENTED) asan $(BIN)/python -m pytest \
	    -p no:cacheprovider --timeout 600 $(SANITIZED) $(ARGS) || { cat .make/asan/report.* 2> /dev/null; exit 1; }

.PHONY: test-debug
test-debug: .make/core ## Test the core built with bounds checks and assertions
	@$(INSTRUMENTED) debug $(BIN)/python -m pytest -p no:cacheprovider --timeout 600 $(SANITIZED) $(ARGS)

.PHONY: fuzz
fuzz: .make/core ## Fuzz each target for FUZZ_SECONDS, then tell what the corpora reach
	@FUZZ_SECONDS=$(FUZZ_SECONDS) $(BIN)/python -m pytest tests/fuzz -rs -p no:randomly $(ARGS)
	@$(INSTRUMENTED) fuzz $(BIN)/python -m fuzz.engine all --coverage

.PHONY: histories
histories: .make/core ## Play N histories over the simulated network
	@PYTHONPATH=tests:. $(BIN)/python tests/simulated/histories.py $(N) $(ARGS)

.PHONY: traces
traces: .make/peers ## Write docs/traces anew: a run of each client, shortened
	@mkdir -p docs/traces && rm -f docs/traces/*.txt
	PRESENCE_TRACES=$(CURDIR)/docs/traces $(BIN)/python -m pytest -m peer -rs -p no:randomly $(ARGS) \
	    -k '(pjsua_does or linphone_does) and tls-SHA-256 or sipjs and wss-MD5 or baresip_shows and tls-MD5 or sipp_proves and tcp-MD5 and not MD5-SHA'

.PHONY: clean
clean: ## Remove what was made, except var/ with the database
	rm -rf $(VENV) .make build dist *.egg-info presence/_fastcore.c presence/*.so
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find presence tests -name __pycache__ -prune -exec rm -rf {} +

# Stamps: what is there already is not made again.

.make/venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null \
	    || { echo "presence: error: $(PYTHON) is not Python 3.11 or later; say make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2> /dev/null \
	    || { echo "presence: error: $(PYTHON) has no venv; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import os, sysconfig as s; os.stat(s.get_path("include") + "/Python.h")' 2> /dev/null \
	    || { echo "presence: error: Python.h is missing; on Debian: apt-get install python3-dev" >&2; exit 1; }
	@command -v "$${CC:-cc}" > /dev/null \
	    || { echo "presence: error: no C compiler; on Debian: apt-get install gcc libc6-dev" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	@mkdir -p .make && touch $@

.make/run: .make/venv pyproject.toml setup.py $(CORE)
	$(PIP) install --editable .
	@touch $@

.make/dev: .make/venv pyproject.toml setup.py
	$(PIP) install --editable '.[dev]'
	@touch $@

# As root the programs of others are installed too; without, those that are missing have their tests skipped.
.make/peers: .make/core
	@if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
	    apt-get update -qq && apt-get install -y -qq --no-install-recommends sip-tester baresip-core linphone-cli kamailio; fi
	$(PIP) install --editable '.[dev,peers]'
	@if command -v npm > /dev/null; then \
	    npm install --silent --no-audit --no-fund --prefix .make/node sip.js@0.21.2 ws@8; fi
	@touch $@

# With Cython in .venv the core is rebuilt alone, in seconds.
.make/core: .make/dev $(CORE)
	$(BIN)/python setup.py --quiet build_ext --inplace
	@touch $@ .make/run
