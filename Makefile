# Everything sets itself up: `make demo` and `make test` need a machine with Python (3.11 or newer) and make, nothing else.
#
#   make demo       environment, install, then the shipped tiny model answers questions (results in out/demo)
#   make test       environment, install, then format, lint, types, import contracts and the tests (minutes)
#   make test-more  the long tests: slow, browser, fault, docs, wheel
#   make system     Debian packages that some of the long tests need (ffmpeg, chromium, an emoji font)
#   make -j2 tiny   train the shipped tiny model: stages on two cores, hours; interrupt and repeat as you like
#   make bench      benchmarks          make soak   long-running checks          make clean   remove caches and results

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
OUT    ?= out/demo
SYSTEM := ffmpeg chromium chromium-driver fonts-noto-color-emoji
LONG   := slow or browser or fault or docs or wheel

# One thread for each process: the tests run as two processes, and bit-equality is promised at one thread.
# DeepSpeed probes for an accelerator at import and must be told that there is none. Nothing may reach for a hub in a test.
RUN := OMP_NUM_THREADS=1 DS_ACCELERATOR=cpu HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
PYTEST := $(RUN) $(BIN)/python -m pytest

.PHONY: demo install test lint types contracts unit integration test-more long-alone long-ray system bench soak clean tiny tiny-looks tiny-moves tiny-segmentation tiny-words tiny-language tiny-tracking tiny-reading tiny-joint tiny-lessons tiny-orders tiny-asides tiny-finish

demo: $(STAMP)
	$(BIN)/vglamm demo --out $(OUT)

install: $(STAMP)

# torch and torchvision are a pair and come first, by plain pip, so that a local build of them is found; the rest then fits them.
# DS_BUILD_OPS=0: DeepSpeed comes as source; its operators are compiled when first used, not here (no CUDA needed to install).
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v >= (3, 11) else "got Python %d.%d; expected 3.11 or newer; run make PYTHON=python3.11" % v)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install $$(grep -E '^torch(vision)?==' constraints.txt)
	DS_BUILD_OPS=0 $(BIN)/python -m pip install -c constraints.txt -e '.[all]'
	@touch $@

test: lint types contracts unit integration

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(STAMP)
	$(BIN)/mypy

contracts: $(STAMP)
	$(BIN)/lint-imports

unit: $(STAMP)
	$(PYTEST) -n 2 --dist loadfile -m "not ($(LONG) or ray)" tests

# In one process: a local Ray takes both cores.
integration: $(STAMP)
	$(PYTEST) -m "not ($(LONG)) and ray" tests

test-more: long-alone long-ray

LONGER := $(PYTEST) --timeout 1200 --durations 15 --durations-min 10
long-alone: $(STAMP)
	$(LONGER) -n 2 --dist loadfile -m "($(LONG)) and not ray" tests

# In one process, as integration.
long-ray: $(STAMP)
	$(LONGER) -m "($(LONG)) and ray" tests

system:
	@missing=$$(for p in $(SYSTEM); do dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done); \
	if [ -z "$$missing" ]; then echo "system packages are there: $(SYSTEM)"; exit 0; fi; \
	root=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	echo "installing $$missing"; \
	$$root apt-get update -q && $$root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$missing

# Stages of the tiny model, two at a time with -j2; the last three use both cores each. A first sitting: `make -j2 tiny-orders tiny-moves
# tiny-tracking`. Each run goes on where it was interrupted, and is done at once when it is done.
TRAIN := $(RUN) $(BIN)/vglamm train
tiny-looks tiny-segmentation tiny-words: $(STAMP)
	$(TRAIN) $@ --local
tiny-moves: tiny-looks
	$(TRAIN) $@ --local
tiny-tracking: tiny-segmentation
	$(TRAIN) $@ --local
tiny-language: tiny-words
	$(TRAIN) $@ --local
tiny-lessons: tiny-language
	$(TRAIN) $@ --local
tiny-orders: tiny-lessons
	$(TRAIN) $@ --local
tiny-asides: tiny-orders
	$(TRAIN) $@ --local
tiny-reading: tiny-moves tiny-asides
	$(TRAIN) $@ --local
tiny-joint: tiny-reading tiny-tracking
	$(TRAIN) $@ --local
tiny-finish: tiny-joint
	$(TRAIN) $@ --local
tiny: tiny-finish
	$(RUN) $(BIN)/python -m ray_jobs.train.ship vglamm/weights/tiny docs/tiny-card.md runs/tiny-finish

bench: $(STAMP)
	$(RUN) $(BIN)/python -m benchmarks.run

soak: $(STAMP)
	$(RUN) $(BIN)/python -m benchmarks.soak

clean:
	rm -rf build dist out .mypy_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
