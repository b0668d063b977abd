# `make bench` runs the main job on the embedded sample, `make test` the tests, `make check` ruff and mypy.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: bench test test-faults check benchmarks clean
ROUNDS ?= 10

bench: $(READY)
	$(BIN)/optiml-bench build --out data/
	$(BIN)/optiml-bench eval --model builtin:tiny-opt --data data/ --eval-set all --shots 0,5 --limit 20 --out results/
	$(BIN)/optiml-bench report results/ --out report/

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 tests

# Every fault at ROUNDS random moments; `make test` has one of each.
test-faults: $(READY)
	OMP_NUM_THREADS=1 OPTIML_BENCH_FAULT_ROUNDS=$(ROUNDS) $(BIN)/python -m pytest -q -n 2 tests/faults

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Compares with lm-evaluation-harness, in an environment of its own that is made on the first run; takes an hour.
benchmarks: $(READY)
	$(BIN)/python benchmarks/evaluation/compare.py
	$(BIN)/python benchmarks/rouge.py
	$(BIN)/python benchmarks/overlap.py

# torch is installed first and pinned: asked for by a range, pip may take a build with gigabytes of CUDA packages.
$(READY): setup.cfg constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[eval,ray,s3,peft,dev]'
	touch $@

clean:
	rm -rf $(VENV) data results report build *.egg-info .mypy_cache .ruff_cache .pytest_cache
