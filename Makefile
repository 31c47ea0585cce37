# Every target sets up its own environment first. Another interpreter: make PYTHON=python3.12 test
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
# More workers than cores, or threads inside workers, make every test slower.
WORKERS ?= 2
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test lint format bench clean

help:  ## Say what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

demo: $(READY)  ## Cluster the handwritten digits and leave demo/report.html
	$(BIN)/holdfast demo -o demo/

test: $(READY)  ## Check style and layers (seconds), then run every test; ARGS="-k tables" narrows them
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) $(ARGS)

lint: $(READY)  ## Check style, format, layers and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

format: $(READY)  ## Format the code and repair what can be repaired
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)  ## Measure quality, time and memory on the shared data
	$(BIN)/python -m benchmarks $(ARGS)

clean:  ## Remove what the targets made
	rm -rf .venv demo dist build .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find src tests benchmarks -name __pycache__ -type d -exec rm -rf {} +

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "holdfast needs Python 3.11 or newer: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "Setting up .venv, once: some minutes without a word, PyTorch being large"
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@
