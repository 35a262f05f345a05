# Two commands do all the set-up: `make run` and `make test`.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
SUITE  ?= suites/quickstart.yaml
# The quickstart is about the embedded assets, on every machine; other suites take the real ones where they can.
ASSETS ?= $(if $(filter %quickstart.yaml,$(SUITE)),embedded,auto)

# Compiled modules make every later start several times faster.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test check coverage bench gpu docs lock clean
.DEFAULT_GOAL := run

run: $(VENV)/.installed
	$(BIN)/harness run $(SUITE) --assets $(ASSETS) $(ARGS)

# Each file in one of a few processes, in the order of tests/conftest.py: most tests keep one core busy.
test: $(VENV)/.installed
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/zizmor --offline --quiet --strict-collection .github action.yml examples/github-*.yml
	@if command -v actionlint > /dev/null; then actionlint .github/workflows/*.yml examples/github-*.yml; \
	  else echo 'note: actionlint is not installed, so the expressions of workflows were not checked'; fi

# Branch coverage of the light half; `make test ARGS="-m 'heavy or slow'"` runs the other tests.
coverage: override ARGS += -m 'not heavy and not slow' --cov
coverage: test

# Each file in a process of its own, and its figures in a JSON file of its own; one file only: BENCH=tests/benchmarks/...
BENCH  ?= $(wildcard tests/benchmarks/test_*.py)

bench: $(VENV)/.installed
	@mkdir -p reports/benchmarks; failed=0; for file in $(BENCH); do \
	  json=reports/benchmarks/$$(basename $$file .py | sed s/^test_//).json; \
	  $(BIN)/python -m pytest $$file --benchmark-only --benchmark-json=$$json.new $(ARGS) || failed=$$?; \
	  if test -s $$json.new; then mv $$json.new $$json; else rm -f $$json.new; fi; \
	done; exit $$failed

# All that needs an NVIDIA GPU: tests, proofs, profiles and the suites of such devices, with their reports.
gpu: $(VENV)/.installed
	$(BIN)/python -m tools.gpu $(ARGS)

# The documentation site, in build/site; a warning fails it.
docs: $(VENV)/.installed
	$(BIN)/zensical build --strict

# The pinned versions; the newest ones: ARGS=--upgrade. Needs uv, and no environment.
lock:
	$(PYTHON) -m tools.lock $(ARGS)

# All but torch by hash; torch adds nothing but its packages of CUDA, where its wheel is the one for CUDA.
$(VENV)/.installed: pyproject.toml requirements.txt requirements-torch.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "harness needs Python 3.11 or newer, this is " + sys.version.split()[0] + ": make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-deps --only-binary :all: --require-hashes --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --requirement requirements-torch.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/python -m pip check
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
