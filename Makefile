# Two commands need nothing but Python 3.11 or newer: `make demo` and `make test`.
.DEFAULT_GOAL := help
.PHONY: help demo test check format lock bench chaos screenshots clean

VENV   := .venv
BIN    := $(VENV)/bin
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14 python; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.run ## See it work: three generations, three webhooks, then it stays up (ONCE=1: ends)
	@$(BIN)/dreamhook demo $(if $(ONCE),--once)

test: $(VENV)/.dev ## Run the tests
	$(BIN)/pytest -n auto --dist loadfile $(ARGS)

check: $(VENV)/.dev ## Check style, types and the import rule
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -q tests/test_floors.py

format: $(VENV)/.dev ## Format the code
	$(BIN)/ruff check --fix-only -q .
	$(BIN)/ruff format .

bench: $(VENV)/.dev ## Run the benchmarks (a quarter of an hour)
	$(BIN)/python -m bench.registrations
	$(BIN)/python -m bench.latency
	$(BIN)/python -m bench.memory
	$(BIN)/python -m bench.deliveries
	$(BIN)/python -m bench.monitoring
	$(BIN)/python -m bench.polling
	$(BIN)/python -m bench.lanes
	$(BIN)/python -m bench.looks
	$(BIN)/python -m bench.spread
	$(BIN)/python -m bench.capacity

chaos: $(VENV)/.dev ## Kill, stop and starve it, then judge what came of it (three minutes)
	$(BIN)/python -m chaos $(ARGS)

screenshots: $(VENV)/.dev ## Draw the pictures of the dashboard anew (needs Chromium)
	$(BIN)/python -m tests.web.screenshots

lock: $(VENV)/.dev ## Pin the requirements anew
	$(BIN)/uv pip compile $(LOCK) pyproject.toml requirements.in -o requirements.lock
	$(BIN)/uv pip compile $(LOCK) pyproject.toml requirements.in --group dev -o requirements-dev.lock

LOCK := -q --universal --python-version 3.11 --extra mcp --generate-hashes --no-emit-index-url \
  --no-emit-find-links --custom-compile-command "make lock"

clean: ## Remove what was made here
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Dreamhook needs Python 3.11 or newer. Install it, or run: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The locks hold all that is needed, so pip has nothing to resolve: an older one may pick a newer
# release for a dependency that is asked for with an extra, and then find no hash for it.
$(VENV)/.run: requirements.lock pyproject.toml | $(VENV)/bin/python
	@echo "Installing into $(VENV) ..."
	@$(BIN)/pip install -qq --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	@$(BIN)/pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.run
	@$(BIN)/pip install -qq --disable-pip-version-check --require-hashes --no-deps -r requirements-dev.lock
	@touch $@
