# Two commands do everything: `make demo` and `make test`. Both set up their own virtual environment first.

PYTHON ?= python3
BIN := .venv/bin
MINUTES ?= 20
ABREAST ?= 3
EVERY_BRANCH := simulator/mqtt/*,simulator/metrics/*,simulator/arrival.py,simulator/link/failure.py

.PHONY: demo test lint truth bench soak reference clean

demo: .venv/.runs  ## Run the quickstart on the embedded broker
	$(BIN)/simulator run scenarios/quickstart.toml

test: .venv/.tests lint  ## Check style and types, then run all tests; those that keep time run without coverage
	$(BIN)/pytest tests/truth tests/metrics tests/identity -m timekeeping
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -m "not timekeeping" --numprocesses=$(ABREAST) --dist=loadfile
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --skip-covered --omit=$(EVERY_BRANCH) --fail-under=90
	$(BIN)/coverage report --skip-covered --include=$(EVERY_BRANCH) --show-missing --fail-under=100

lint: .venv/.tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

truth: .venv/.tests  ## Hold latencies against known delays, to the millisecond; wants an idle machine
	SIMULATOR_TRUTH=1 $(BIN)/pytest tests/truth

bench: .venv/.tests  ## Measure speed and memory; the last line is one JSON object
	$(BIN)/python benchmarks/bench.py

soak: .venv/.tests  ## Hold 2,000 devices for MINUTES: memory, lag, every message; the last line is one JSON object
	$(BIN)/python benchmarks/soak.py $(MINUTES)

reference: .venv/.runs  ## Make the tables of docs/scenarios.md again, after a change of what a scenario may say
	{ sed '/^## Every key$$/q' docs/scenarios.md; echo; $(BIN)/simulator scenarios --reference; } > docs/.scenarios.md
	mv docs/.scenarios.md docs/scenarios.md

clean:
	rm -rf .venv build dist .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .hypothesis

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv || \
		{ rm -rf .venv; echo "Python cannot make virtual environments; on Debian: apt-get install python3-venv"; exit 1; }

.venv/.runs: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

.venv/.tests: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch .venv/.runs $@
