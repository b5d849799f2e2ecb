PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: install demo test check docs dist clean

install: $(VENV)/.installed

# Reinstalled when what is installed, the pinned versions or the native sources change.
$(VENV)/.installed: pyproject.toml constraints.txt $(wildcard snnplug/kernels/native/*)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	# What the counts are tested against: NeuroBench, spikingjelly (and the logger it imports) and the
	# simulator SANA-FE. The first two declare torchaudio, which the parts that are used here do not
	# need and which has no build for every torch; SANA-FE has builds for some platforms only.
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-deps neurobench loguru \
		"spikingjelly; python_version >= '3.11'" \
		"sanafe; sys_platform == 'linux' and platform_machine == 'x86_64'"
	touch $@

demo: install
	$(BIN)/snnplug fit -c quickstart

# None of the peers that were just installed may be missing: their tests fail then, and skip elsewhere.
# One worker process per core; each takes one thread.
test: install
	SNNPLUG_PEERS=required $(BIN)/python -m pytest -n auto --dist worksteal

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/sphinx-build -W --keep-going -q docs docs/_build

docs: install
	$(BIN)/sphinx-build -W --keep-going -q docs docs/_build

# Wheel and source archive in dist/, as they would be uploaded.
dist: install
	$(BIN)/python -m pip install --quiet -c constraints.txt build twine
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*

clean:
	rm -rf $(VENV) build dist docs/_build docs/_generated .mypy_cache .ruff_cache .pytest_cache
