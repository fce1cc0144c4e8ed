# Everything one does with this repository. `make help` lists it.

PYTHON ?= python3
DATA ?= data
LISTEN ?= 0.0.0.0:8443
DIR ?= tests/vectors
ONLY ?=

VENV := .venv
PY := $(VENV)/bin/python
TOOLS := wireguard-go wg nft ip chromium redis-server
PACKAGES := wireguard-go wireguard-tools nftables iproute2 chromium redis-server

.DEFAULT_GOAL := help
.PHONY: help demo run test lint check peers vectors fuzz bench openapi clean tools

help: ## List what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.run ## Start everything with five simulated machines and make a cluster of them; Ctrl-C ends it
	@$(PY) -m omni demo --data .data/demo

run: $(VENV)/.run ## Start everything for real machines; prints how they join (DATA=dir, LISTEN=host:port)
	@$(PY) -m omni serve --data $(DATA) --listen $(LISTEN) --welcome

test: tools $(VENV)/.dev lint check ## Check style, types, layers and generated code, and run every test
	$(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations 15 -m "not browser"
	$(PY) -m pytest tests/browser

lint: $(VENV)/.dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy omni apps nodeagent kubespan talos
	$(VENV)/bin/lint-imports

check: $(VENV)/.dev
	$(PY) -m talos.proto.generate --check
	$(PY) -m omni openapi --check

peers: $(VENV)/.dev ## Run programs over Talos' own Go libraries against this code (needs Go 1.26.5)
	PYTHON=$(CURDIR)/$(PY) tests/peers/run

vectors: $(VENV)/.dev ## Check this code against a folder of vectors (DIR=folder)
	@$(PY) -m tests.talos.vectors $(DIR)

fuzz: $(VENV)/.dev ## Run the simulations with new seeds until one fails or Ctrl-C
	$(PY) -m tests.nodeagent.simulation --forever

bench: $(VENV)/.run ## Measure everything against floors of the same run; takes ten minutes (ONLY=name for one)
	@$(PY) -m benchmarks $(ONLY)

openapi: $(VENV)/.dev ## Write docs/openapi.yaml anew
	$(PY) -m omni openapi

clean: ## Remove the environment and caches; data folders stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache tests/peers/bin

# Environments. A stamp is older than its lock file only when the lock changed.

$(VENV)/.run: requirements.lock
	@$(PY) -m pip --version >/dev/null 2>&1 || { \
		$(PYTHON) -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' || { \
			echo "needs Python 3.11 or newer with venv (Debian: apt-get install python3-venv); or give PYTHON=..." >&2; \
			exit 1; }; \
		$(PYTHON) -m venv --clear $(VENV); }
	$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@printf '#!/bin/sh\nPYTHONPATH="%s$${PYTHONPATH:+:$$PYTHONPATH}" exec "%s" -m omni "$$@"\n' '$(CURDIR)' '$(CURDIR)/$(PY)' > $(VENV)/bin/omni
	@chmod +x $(VENV)/bin/omni
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.run
	$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

# Programs that tests drive. Root gets them installed, others are told how.

tools:
	@PATH="$$PATH:/usr/sbin:/sbin"; missing=""; for tool in $(TOOLS); do command -v $$tool >/dev/null || missing="$$missing $$tool"; done; \
	test -z "$$missing" && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $(PACKAGES); \
	else \
		echo "the tests need$$missing; ask an administrator for: apt-get install $(PACKAGES)" >&2; exit 1; \
	fi
