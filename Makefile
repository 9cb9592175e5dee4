# Two commands on a fresh machine: `make demo` and `make test`. Python 3.11 or newer with its venv module is all they
# need (Debian: apt-get install python3-venv).

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# tests mostly wait for sockets and processes; as root each worker has its own network namespace
WORKERS ?= 6
# those of the inner loop compute: more workers than processors only load every module again
QUICK_WORKERS ?= 3
# these measure over emulated links, after the others; those that are not marked `beside` run alone
TIMED := tests/measure/throughput/test_over_links.py tests/measure/video/test_video_over_links.py \
  tests/measure/ping/test_ping_links.py tests/support/test_link_emulator.py tests/trials/faults/test_wire_slow.py \
  tests/measure/throughput/test_over_traces.py tests/measure/throughput/test_data_cap_over_links.py \
  tests/trials/scenarios/test_scenarios.py
# for development: no root, no namespaces, no external programs, few examples of each property
QUICK := -m "not root and not system and not process and not slow" --hypothesis-profile=quick
DONE := $(VENV)/.done
# without a bytecode cache each worker rewrites every test's asserts, and each start of the program compiles it again
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo test quick check catalogues format soak clean

help:
	@echo "make demo        set up and run the main job once, on this machine alone"
	@echo "make test        set up and run all tests (another Python: make test PYTHON=python3.13 VENV=.venv-3.13)"
	@echo "make quick       the tests for the inner loop, within a minute; needs no root"
	@echo "make check       ruff, mypy --strict, import-linter, catalogues"
	@echo "make soak        the fault tests at full count (hours)"
	@echo "make catalogues  update and compile the Indonesian and English texts"

setup: $(DONE)

$(DONE): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "sigprobe needs Python 3.11 or newer; to use another one: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' || \
	  { echo "this Python has no venv module; on Debian: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt hatchling babel editables
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-build-isolation -e '.[collector,dev]'
	@touch $(DONE)

demo: setup
	$(BIN)/python tools/demo.py

test: setup catalogues-compile compiled
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(TIMED:%=--ignore=%) $(PYTEST_ARGS)
	$(BIN)/python -m pytest $(TIMED) -m beside -n 4 --dist loadgroup $(PYTEST_ARGS)
	$(BIN)/python -m pytest $(TIMED) -m "not beside" $(PYTEST_ARGS)

quick: setup catalogues-compile
	$(BIN)/python -m pytest -q -n $(QUICK_WORKERS) --dist worksteal $(QUICK) $(PYTEST_ARGS)

check: setup catalogues-compile
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/catalogues.py check

catalogues: setup
	$(BIN)/python tools/catalogues.py update
	$(BIN)/python tools/build_catalogues.py

.PHONY: catalogues-compile
catalogues-compile: setup
	@$(BIN)/python tools/build_catalogues.py

.PHONY: compiled
compiled: setup
	@$(BIN)/python -m compileall -q sigprobe tests

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

soak: setup catalogues-compile
	SIGPROBE_SOAK=1 $(BIN)/python -m pytest tests/trials/faults \
	  tests/measure/throughput/test_data_cap_over_links.py --timeout=0 -s

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
