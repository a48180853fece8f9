# Facings: one command a chore. `make` alone lists them.

PYTHON ?= $(firstword $(shell command -v python3.11 2>/dev/null) $(shell command -v python3 2>/dev/null) python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help demo serve test lint types imports format bench doctor clean install

help: ## list the chores
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY) ## do the main job on real data, then serve (HEADLESS=1: do not stay up; LAN=1: reachable by a phone)
	@$(BIN)/facings demo $(if $(HEADLESS),--headless) $(if $(LAN),--lan)

serve: $(READY) ## serve the home's offers, screens and events
	@$(BIN)/facings serve

test: $(READY) ## lint, types, import floors and all tests
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/pytest -n 2 --dist loadfile $(PYTEST)

lint: $(READY) ## ruff's findings
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(READY) ## mypy --strict
	@$(BIN)/mypy

imports: $(READY) ## who may import whom
	@$(BIN)/lint-imports

format: $(READY) ## format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(READY) ## time what has a figure to reach; results go to benchmarks/results/
	@$(BIN)/python benchmarks/run_all.py

doctor: $(READY) ## check this machine
	@$(BIN)/facings doctor

install: $(READY) ## make the virtual environment and install what requirements.lock names

clean: ## remove the virtual environment, caches and this clone's state (var/)
	rm -rf $(VENV) var .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
		{ echo "Facings needs Python 3.11, and $(PYTHON) is another: install it, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11"; exit 1; }
	@command -v cc >/dev/null 2>&1 || command -v gcc >/dev/null 2>&1 || command -v clang >/dev/null 2>&1 || \
		{ echo "Facings needs a C compiler, because LightFM is compiled at installation: install gcc (Debian: apt-get install gcc) or clang (macOS: xcode-select --install)"; exit 1; }
	@$(PYTHON) -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' || \
		{ echo "Facings needs Python's header files, because LightFM is compiled at installation: install them (Debian: apt-get install python3.11-dev)"; exit 1; }
	@echo "Installing into $(VENV) (two to four minutes)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $(READY)
