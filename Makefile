# Two commands: `make demo` (the whole job on a thousand pages) and `make test`. Everything else is for developers.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --no-deps --no-build-isolation
# What is installed is what `requirements/` names, by its hash; nothing is resolved here.
LOCKED := $(PIP) --require-hashes --requirement requirements
# Without a GPU: PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu spares 3 GB.
TORCH := $(LOCKED)/torch-cpu.txt 2>/dev/null || $(LOCKED)/torch.txt

.PHONY: docs wheel demo world world-full fusion reinforced real test test-all test-needs test-durations fuzz test-openclip4 lint lock page bench clean help
.DEFAULT_GOAL := help

help:
	@echo "make demo       install, label a thousand pages, train and measure a head, index; runs/tiny/report.html"
	@echo "make world      build the sample world (22,000 pages), label it, compare ways to train on it; runs/demo/report.html"
	@echo "make world-full the same, and encoders trained end to end with three seeds"
	@echo "make fusion     the fusion decoder beside its rivals; runs/fusion/report.html"
	@echo "make reinforced small encoders that learn from stored teachers; runs/reinforced/report.html"
	@echo "make real       drawings, photos, icons of others labelled, against truths made by hand (Debian); runs/real/report.html"
	@echo "make test       the tests in ten minutes   make test-all  every test; REST=1 those that make test leaves out, SHARD=1/6 a sixth"
	@echo "make test-needs what tests need besides Python: Chromium, nginx, PostgreSQL with pgvector (Debian, as root), WordNet, artwork"
	@echo "make test-durations  how long each test takes, anew, in tests/durations.json"
	@echo "make test-openclip4  the tests of encoders and towers with open_clip 4; OPEN_CLIP4=… names what pip installs"
	@echo "make fuzz       20,000 damaged shards, hostile inputs with other seeds, other examples of properties, two hundred races, a hundred kills a stage and write"
	@echo "make lint       ruff, codespell, mypy, import contracts"
	@echo "make lock       requirements/ anew from pyproject.toml, with hashes; UPGRADE=--upgrade for the newest releases"
	@echo "make page       the page of openmofi serve, built of its sources and npm's packages; after a change of either"
	@echo "make docs       the documentation site, in site/; a broken link fails"
	@echo "make wheel      wheel and sdist, in dist/; the tiny demo from the wheel alone, in an empty environment"
	@echo "make bench      benchmarks against peers, writes benchmarks/RESULTS.md"

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.sample: pyproject.toml $(wildcard requirements/*.txt) | $(BIN)/python
	$(LOCKED)/build.txt
	$(TORCH)
	$(LOCKED)/sample.txt
	$(PIP) --editable . --editable studies
	@touch $@

$(VENV)/.dev: $(VENV)/.sample
	$(LOCKED)/dev.txt
	@touch $@

# Pages, knowledge base and encoder are in the package. Half of the entities are held out of the head's training, and
# measure it; it stands on ImageNet's features, since the packaged encoder knows these pages.
HEAD := --encoder backbone:efficientnet-lite0+minilm --set run.steps=100 --set data.batch_size=128 --set run.evaluate.held_out=0.5
demo: $(VENV)/.sample
	$(BIN)/openmofi demo --tiny -o runs/tiny
	$(BIN)/openmofi train entity_head $(HEAD) --dataset runs/tiny/dataset --kb runs/tiny/kb -o runs/tiny/head --resume
	@echo "labels: runs/tiny/report.html   head: runs/tiny/head/report.html   the page: $(BIN)/openmofi serve runs/tiny/index --open"

world: $(VENV)/.sample
	$(BIN)/openmofi sample demo -o runs/demo
	$(BIN)/python -m studies.comparison -o runs/demo

world-full: $(VENV)/.sample
	$(BIN)/openmofi sample demo -o runs/demo
	$(BIN)/python -m studies.comparison -o runs/demo --full

# The linker is runs/fusion/select/linker: what it does in the label job is
# `python -m studies.linkers --linker coherence --linker prior --linker fusion:runs/fusion/select/linker`.
fusion: $(VENV)/.sample
	$(BIN)/python -m studies.fusion -o runs/fusion

# On the world in runs/demo; what that lacks is made there.
reinforced: $(VENV)/.sample
	$(BIN)/python -m studies.reinforced -o runs/reinforced

# Fetches nine Debian packages, Debian's AppStream files and two npm packages (500 MB) into the cache and installs nothing.
# With the encoder of the demo in runs/demo.
real: $(VENV)/.sample
	$(BIN)/python -m studies.real -o runs/real

# More processes than cores: a third of a test's time is waiting for servers, browsers and other processes. Each has one
# thread for linear algebra, or they wait for each other. Bytecode is kept, or each of a thousand processes compiles anew.
# A process that dies ends the run at once, with the name of its test: a new one in its place may wait for ever.
WORKERS ?= 3
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup --no-loadscope-reorder --max-worker-restart 0
test test-all test-durations: export OMP_NUM_THREADS = 1
test test-all test-durations: export PYTHONDONTWRITEBYTECODE =

test: $(VENV)/.dev
	$(BIN)/openmofi sample fetch
	$(PYTEST) -m 'not slow or chosen'

test-all: $(VENV)/.dev
	$(BIN)/openmofi sample fetch
	$(PYTEST) $(if $(REST),-m 'slow and not chosen') $(if $(SHARD),--shard $(SHARD))

test-durations: $(VENV)/.dev
	$(PYTEST) --store-durations

# The pages on which people search and judge are tested in Chromium, which lays out nothing without a font; indexes in
# PostgreSQL on a real server, which the tests start themselves as the user postgres; docs/guides/operate.md behind nginx.
test-needs: $(VENV)/.dev
	tools/test_needs.sh
	$(BIN)/openmofi sample fetch

# open_clip 4 in an environment of its own, which sees the packages of $(VENV) behind it; requirements/ pin 3.3.
VENV4 := .venv-openclip4
OPEN_CLIP4 ?= open-clip-torch>=4,<5

$(VENV4)/.done: $(VENV)/.dev
	$(BIN)/python -m venv $(VENV4)
	$(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" > \
		"$$($(VENV4)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/main.pth"
	$(VENV4)/bin/python -m pip --disable-pip-version-check install --quiet --no-deps --ignore-installed '$(OPEN_CLIP4)'
	@touch $@

test-openclip4: $(VENV4)/.done
	$(VENV4)/bin/python -c "import open_clip; assert open_clip.__version__.startswith('4.'), open_clip.__version__"
	PYTHONPATH=src $(VENV4)/bin/python -m pytest -m 'not slow' tests/encoders tests/training/model tests/objectives \
		tests/plugins/encoders tests/plugins/export

fuzz: $(VENV)/.dev
	PYTHONPATH=src:.:tests $(BIN)/python -m hostile.fuzz
	PYTHONDONTWRITEBYTECODE= $(PYTEST) -m hypothesis --hypothesis-profile fuzz
	OPENMOFI_RACES=200 $(BIN)/python -m pytest tests/dataset/test_race.py
	OPENMOFI_INDEX_KILLS=100 $(BIN)/python -m pytest -n 0 -k killed tests/search/test_safety.py tests/plugins/postgres/test_postgres.py

SPELT := src docs tests studies benchmarks tools deploy .github README.md CONTRIBUTING.md SECURITY.md CHANGELOG.md Makefile
lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell $(SPELT)
	$(BIN)/mypy
	$(BIN)/mypy benchmarks/*.py
	$(BIN)/lint-imports

docs: $(VENV)/.dev
	PYTHONPATH=src NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

lock: $(VENV)/.dev
	$(BIN)/python tools/lock.py $(UPGRADE)

page:
	$(PYTHON) tools/page/build.py

wheel: $(VENV)/.dev
	$(BIN)/python tools/wheel.py

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/run_all.py

clean:
	rm -rf runs $(VENV) $(VENV4)
