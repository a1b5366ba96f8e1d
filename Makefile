# Two commands for a newcomer: `make demo` and `make test`. Both set up .venv first, and are quick when nothing changed.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# The site's tools need neither torch nor the pipeline: an environment of their own is small, and set-up stays as it was.
DOCS   := .venv-docs

.PHONY: help setup demo test test-quick test-long lint format docs docs-check lock clean

help:            ## what there is to make
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP)  ## .venv with the pinned and hashed requirements

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than 3.11; name another: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@# The lock is all there is to install: without --no-deps an older pip looks for newer versions, which have no hash here.
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/python -m pip check --disable-pip-version-check
	@touch $@

demo: setup      ## the whole pipeline on the built-in digits, to a report
	@test -f data/raw.dvc || $(BIN)/genai data add builtin:digits
	@$(BIN)/genai run

# All tests of a file run in one worker, because they share trained models. tests/conftest.py puts the longest files first.
PYTEST = $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

test: setup lint ## ruff, mypy and the tests, without the rare cases that take long
	$(PYTEST) -m "not long"

test-quick: setup ## the tests of the daily loop, two to four minutes: none that starts processes or trains for long
	$(PYTEST) -m "not long" --quick

test-long: setup ## the rare cases that `make test` leaves out
	$(PYTEST) -m long

lint: setup      ## ruff (rules and format) and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup    ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(DOCS)/.installed  ## the documentation as a site in site/; a warning is an error
	@rm -rf site
	$(DOCS)/bin/zensical build --strict --clean
	@$(DOCS)/bin/python -m tests.docs.site site
	@echo "open site/index.html; for the search: $(PYTHON) -m http.server --bind 127.0.0.1 --directory site"

$(DOCS)/.installed: docs.lock
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install --disable-pip-version-check --quiet --no-deps --require-hashes -r docs.lock
	@touch $@

docs-check: setup ## the tutorials that take too long for `make test`
	$(BIN)/python -m pytest tests/docs/check_tutorials.py

lock:            ## all locks anew from pyproject.toml (needs uv); pins are kept where they still fit
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --no-annotate --output-file requirements.lock
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["docs"], \
		sep="\n")' | uv pip compile - --constraint requirements.lock --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --no-annotate --output-file docs.lock
	uv pip compile pyproject.toml --extra peers --constraint requirements.lock --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header --no-annotate --output-file benchmarks/peers.lock

# Not .genai: checkpoints, checkouts of runs and the list of living services are there. `genai gc` frees what may go.
clean:           ## remove .venv, the site and what their tools left; data, models, DVC's cache and .genai stay
	rm -rf $(VENV) $(DOCS) site .cache .pytest_cache .mypy_cache .ruff_cache
