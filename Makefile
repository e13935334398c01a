# `make demo` and `make test` set up by themselves; `make help` lists everything.
PYTHON ?= python3
SIZE ?= small
SEED ?= 0
ROUNDS ?= 20000
BIN := .venv/bin
READY := .venv/.ready

.PHONY: help setup demo test test-cluster test-browser fuzz lint format benchmarks clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(READY)  ## make .venv with the pinned packages

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "error: Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
		--editable '.[dev,photos]'
	@touch $(READY)

demo: $(READY)  ## pre-train, fine-tune, judge and show on made scenes (SIZE=small|full SEED=0)
	$(BIN)/python cli.py demo --size $(SIZE) --seed $(SEED)

test: $(READY)  ## all tests
	$(BIN)/python -m pytest -n 2 --dist loadfile

fuzz: $(READY)  ## read images and annotations that are damaged at random (ROUNDS=20000 SEED=0)
	$(BIN)/python -W ignore -m tests.datamodules.storage.fuzz --rounds $(ROUNDS) --seed $(SEED)

test-cluster: $(READY)  ## jobs on a SLURM cluster on this machine (root; apt install slurmctld slurmd slurm-client munge)
	$(BIN)/python -m pytest tests/cluster -m cluster

test-browser: $(READY)  ## the page of `show` in Chromium (the extra show, selenium, apt install chromium chromium-driver)
	$(BIN)/python -m pytest tests/commands/test_show_browser.py -m browser

lint: $(READY)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)  ## let ruff format the code and mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

benchmarks: $(READY)  ## speed of the hot paths, each against a baseline in the same run
	for file in benchmarks/[!_]*.py; do $(BIN)/python -m benchmarks.$$(basename $$file .py) || exit 1; done

clean:  ## remove caches (runs/ and .venv stay)
	rm -rf .cache .pytest_cache .ruff_cache .mypy_cache *.egg-info
