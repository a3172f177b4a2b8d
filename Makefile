# Two commands: `make demo` and `make test`. Both set up .venv first.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(CURDIR)/$(VENV)/bin
JOBS   ?= 2
FUZZ   ?= 100000
CORPUS ?= ../shared/corpus
SOAK   ?= 2000
FUZZ_MODELS ?= 5000

.PHONY: demo test lint format golden corpus picture docs fuzz fuzz-models soak clean
.DEFAULT_GOAL := help

help:
	@echo "make demo     set up, build ICNet (1x3x1024x2048) and run the main job on it"
	@echo "make test     set up; lint, types, tests"
	@echo "make format   format the code"
	@echo "make docs     write docs/passes and the schemas anew, after a change of a pass file, ATC's options or --json"
	@echo "make fuzz     read and apply FUZZ=$(FUZZ) mutated pass files in children with limits"
	@echo "make fuzz-models  run commands on FUZZ_MODELS=$(FUZZ_MODELS) mutated models in guarded workers"
	@echo "make soak     SOAK=$(SOAK) random subsets and orders of the passes on random graphs, and all pairs on some"
	@echo "make golden   record golden/ anew, after a change that was meant"
	@echo "make corpus   optimize every model of CORPUS=$(CORPUS) and judge each result"
	@echo "make picture  make docs/demo.svg from a real run"

$(VENV)/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "graphtool needs Python 3.11 or newer; name one with make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
# as pip does with a wheel: where Python is told to write no bytecode, each run would compile a quarter of its start anew
	$(BIN)/python -m compileall -q graphtool
	@touch $@

demo: $(VENV)/.ready
	@mkdir -p demo
	cd demo && $(BIN)/graphtool zoo icnet ICNet.onnx
	cd demo && PATH="$(BIN):$$PATH" graphtool run --passes resize_nearest,prune_outputs ICNet.onnx

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/pytest -n $(JOBS) --dist loadscope

format: $(VENV)/.ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.ready
	$(BIN)/graphtool passes docs
	$(BIN)/graphtool passes schema -o docs/pass.schema.json
	$(BIN)/graphtool report schema -o docs/report.schema.json
	$(BIN)/graphtool atc docs
	$(BIN)/graphtool rules docs

fuzz: $(VENV)/.ready
	$(BIN)/python tests/fuzzing.py --jobs $(JOBS) $(FUZZ)

fuzz-models: $(VENV)/.ready
	$(BIN)/python tests/fuzz_models.py $(FUZZ_MODELS)

soak: $(VENV)/.ready
	GRAPHTOOL_SOAK=$(SOAK) $(BIN)/pytest -n $(JOBS) --dist load tests/test_passes_random.py

golden: $(VENV)/.ready
	$(BIN)/python golden/record.py

corpus: $(VENV)/.ready
	$(BIN)/python benchmarks/corpus.py --jobs $(JOBS) $(CORPUS)

picture: $(VENV)/.ready
	$(BIN)/python docs/make_picture.py

clean:
	rm -rf demo dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
