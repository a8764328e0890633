# Two commands do all: `make demo` (install, then the whole pipeline on a synthetic corpus) and `make test`.
#
#   make demo MODELS=svm     installs what the SVM needs, without PyTorch, and runs the demo with the SVM alone.
#   make demo MODELS=svm,cnn chooses among svm, cnn and transformer.
#   TORCH_INDEX=URL          takes PyTorch from another package index at the first install. The builds for CPUs are small:
#                            make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu
#   PYTHON=python3.12        is the interpreter of .venv; 3.11 or newer.
#
# Everything is installed from requirements/*.txt, and what does not have the sha256 sum that is written there is refused.
# PyTorch from TORCH_INDEX is the exception: it has the locked version, and its sum is the one that the index states.
# `make lock` writes these files anew, and `make lock LOCK='--upgrade'` with the newest versions that are allowed.
PYTHON ?= python3
MODELS ?=
TORCH_INDEX ?=
LOCK ?=
BIN := .venv/bin
LOCKED := $(BIN)/pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes
EDITABLE := $(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
TORCH = $(shell sed -n 's/^\(torch==[^ ;]*\).*/\1/p' requirements/torch.txt)

.PHONY: demo install test quick format lint types check-tests docs lock clean

demo: .venv/installed-$(if $(filter svm,$(MODELS)),base,all)
	$(BIN)/rubricator demo $(if $(MODELS),--models $(MODELS))

install: .venv/installed-all

.venv/installed-base: pyproject.toml requirements/base.txt
	$(PYTHON) -m venv .venv
	$(LOCKED) --requirement requirements/base.txt
	$(EDITABLE)
	touch $@

# A build for CPUs, where pip is set up with a folder or an index that has it; else that of PyPI, with its libraries for GPUs
.venv/installed-all: pyproject.toml $(wildcard requirements/*.txt)
	$(PYTHON) -m venv .venv
	$(LOCKED) --requirement requirements/all.txt
ifeq ($(TORCH_INDEX),)
	$(LOCKED) --requirement requirements/torch-cpu.txt 2> /dev/null || $(LOCKED) --requirement requirements/torch.txt
else
	$(BIN)/pip install --quiet --disable-pip-version-check --index-url $(TORCH_INDEX) $(TORCH)
endif
	$(EDITABLE)
	touch $@

test: lint types check-tests

# what is run while working: under a minute, once mypy has run before
quick: lint types
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses logical --maxprocesses 4 -m 'not slow'

docs: install
	$(BIN)/python docs/build_site.py

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

# mypy looks for folders named as the imports are: links of that shape stand in build/types
types: install
	mkdir -p build/types/rubricator
	ln -sfn $(CURDIR)/flows $(CURDIR)/nlp $(CURDIR)/models build/types/rubricator/
	$(BIN)/mypy -p rubricator -p rubricator.flows -p rubricator.nlp -p rubricator.models

check-tests: install
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder \
		--cov=flows --cov=nlp --cov=models --cov-report=term:skip-covered

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock:
	$(PYTHON) -m venv build/lock
	build/lock/bin/pip install --quiet --disable-pip-version-check 'uv>=0.9,<1'
	build/lock/bin/python requirements/lock.py $(LOCK)

clean:
	rm -rf .venv build .rubricator .mypy_cache .ruff_cache .pytest_cache *.egg-info
