# Two commands for a newcomer: `make demo` and `make test`. Both set up .venv first, and are quick when nothing changed.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: help setup demo test lint format lock clean

help:            ## what there is to make
	@grep -hE '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP)  ## .venv with the pinned and hashed requirements

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than 3.11; name another: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@# The lock is all there is to install: without --no-deps an older pip looks for newer versions, which have no hash here.
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip check --disable-pip-version-check
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup      ## the whole pipeline on the built-in digits, to a report
	@test -f data/raw.dvc || $(BIN)/genai data add builtin:digits
	@$(BIN)/genai run

# All tests of a file run in one worker, because they share trained models. tests/conftest.py puts the longest files first.
test: setup lint ## every test
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

lint: setup      ## ruff (rules and format) and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup    ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock:            ## both locks anew from pyproject.toml (needs uv); pins are kept where they still fit
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --no-annotate --output-file requirements.lock
	uv pip compile pyproject.toml --extra peers --constraint requirements.lock --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header --no-annotate --output-file benchmarks/peers.lock

# Not .genai: checkpoints, checkouts of runs and the list of living services are there. `genai gc` frees what may go.
clean:           ## remove .venv and what its tools left; data, models, DVC's cache and .genai stay
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
