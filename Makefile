# `make demo` and `make test` set up by themselves; `make help` lists everything.
PYTHON ?= python3
SIZE ?= small
SEED ?= 0
ROUNDS ?= 20000
# cpu or cuda; empty for the build that pip finds first.
TORCH ?=
TORCH_VERSION := $(shell sed -n 's/^torch==\([^ ]*\).*/\1/p' constraints.txt)
TORCHVISION_VERSION := $(shell sed -n 's/^torchvision==\([^ ]*\).*/\1/p' constraints.txt)
BUILD_cpu := torch==$(TORCH_VERSION)+cpu torchvision==$(TORCHVISION_VERSION)+cpu
BUILD_cuda := torch!=$(TORCH_VERSION)+cpu torchvision!=$(TORCHVISION_VERSION)+cpu
BIN := .venv/bin
READY := .venv/.ready

.PHONY: help setup demo test test-cluster test-package test-browser fuzz lint format docs benchmarks clean
ifneq ($(filter-out cpu cuda,$(TORCH)),)
$(error TORCH is cpu or cuda, not $(TORCH))
endif
ifneq ($(TORCH),)
.PHONY: $(READY)  # a build is asked for: look again
endif

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(READY)  ## make .venv with the pinned packages (TORCH=cpu|cuda; cpu without the packages of CUDA)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "error: Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11"; exit 1; }
	@echo "installing the pinned packages into .venv: some minutes"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
		$(BUILD_$(TORCH)) --editable '.[dev,photos]' \
		|| { test -z '$(TORCH)' || echo "error: see above; pip must know an index that has torch's builds for \
	$(TORCH): pytorch.org says which, and 'pip config' sets it"; exit 1; }
	@touch $(READY)

demo: $(READY)  ## pre-train, fine-tune, judge and show on made scenes (SIZE=small|full SEED=0)
	$(BIN)/python cli.py demo --size $(SIZE) --seed $(SEED)

test: $(READY)  ## all tests
	$(BIN)/python -m pytest -n 2 --dist loadfile

fuzz: $(READY)  ## read images and annotations that are damaged at random (ROUNDS=20000 SEED=0)
	$(BIN)/python -W ignore -m tests.datamodules.storage.fuzz --rounds $(ROUNDS) --seed $(SEED)

test-cluster: $(READY)  ## jobs on a SLURM cluster on this machine (root; apt install slurmctld slurmd slurm-client munge)
	$(BIN)/python -m pytest tests/cluster -m cluster

test-package: $(READY)  ## install the project into an environment of its own, and use it there
	$(BIN)/python -m pytest tests/test_packaging.py -m packaging

test-browser: $(READY)  ## the page of `show` in Chromium (the extra show, selenium, apt install chromium chromium-driver)
	$(BIN)/python -m pytest tests/commands/test_show_browser.py -m browser

lint: $(READY)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)  ## let ruff format the code and mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY) .venv/.docs  ## the documentation as a site, in site/; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

.venv/.docs: $(READY) pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[docs]'
	@touch $@

benchmarks: $(READY)  ## speed of the hot paths against baselines, as a table in docs/benchmarks.md (hours)
	$(BIN)/python -m benchmarks --write docs/benchmarks.md

clean:  ## remove caches (runs/ and .venv stay)
	rm -rf .cache .pytest_cache .ruff_cache .mypy_cache *.egg-info dist site
