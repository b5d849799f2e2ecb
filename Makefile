PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: install demo test check docs bench clean

install: $(VENV)/.installed

# Reinstalled when what is installed, the pinned versions or the native sources change.
$(VENV)/.installed: pyproject.toml constraints.txt $(wildcard snnplug/kernels/native/*)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	# NeuroBench is the reference that the counts are tested against. It declares torchaudio, which
	# the part that is used here does not need and which has no build for every torch.
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-deps neurobench
	touch $@

demo: install
	$(BIN)/snnplug fit -c quickstart

test: install
	$(BIN)/python -m pytest

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/sphinx-build -W --keep-going -q docs docs/_build

docs: install
	$(BIN)/sphinx-build -W --keep-going -q docs docs/_build

clean:
	rm -rf $(VENV) build dist docs/_build docs/_generated .mypy_cache .ruff_cache .pytest_cache
