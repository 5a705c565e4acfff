# The one command surface. `make help` lists it; continuous integration calls nothing else.

SHELL := /bin/sh
TUSK_TORCH ?= cpu
TUSK_LIBTORCH_DIR ?= $(CURDIR)/.libtorch
CARGO_TARGET_DIR ?= $(CURDIR)/target
# A libtorch of your own wins. It is set here for every cargo call alike: torch-sys is rebuilt when it changes.
BUILD_LIBTORCH := $(or $(LIBTORCH),$(abspath $(TUSK_LIBTORCH_DIR))/$(TUSK_TORCH))
ENV := CARGO_TARGET_DIR="$(CARGO_TARGET_DIR)" LIBTORCH="$(BUILD_LIBTORCH)"
TUSK := "$(CARGO_TARGET_DIR)/debug/tusk"
PYTHON_DIR := $(CARGO_TARGET_DIR)/python
CLUSTER := $(ENV) TUSK_TORCH=$(TUSK_TORCH) docker/cluster.sh

FUZZ_SECONDS ?= 600

.PHONY: help setup build demo test test-faults cluster cluster-demo cluster-down lint bench bench-scale bench-peers peers-folders study ablation pictures study-modes torchvision-weights fuzz docs clean

help: ## Show this.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "TUSK_TORCH=cuda builds against CUDA. LIBTORCH=/path uses a libtorch 2.11.0 that is there."

setup: ## Install what a build needs; says what before it does.
	@TUSK_LIBTORCH_DIR="$(TUSK_LIBTORCH_DIR)" CARGO_TARGET_DIR="$(CARGO_TARGET_DIR)" scripts/setup.sh $(TUSK_TORCH)

# Everything is built with all targets in one go: one set of features, so one build of the dependencies.
build: setup ## Build everything.
	@$(ENV) cargo build --workspace --all-targets

demo: build ## Draw X-rays, train a CNN on them, evaluate it, ask it: about 3 minutes.
	@$(TUSK) demo

test: build ## Run all tests: of the code, then of clusters of processes and of containers.
	@$(ENV) cargo test --workspace
	@$(MAKE) --no-print-directory test-faults

test-faults: build ## Run the tests of clusters only: what happens when parts of them die. PYTEST='-k NAME' chooses.
	@scripts/python.sh "$(PYTHON_DIR)"
	@docker info >/dev/null 2>&1 || echo "no Docker engine answers here: the tests of containers are skipped"
	@$(ENV) TUSK_BIN="$(CARGO_TARGET_DIR)/debug" "$(PYTHON_DIR)/bin/python" -m pytest tests/cluster $(PYTEST)

cluster: build ## Start a cluster of containers on this machine: scheduler, three executors, JupyterLab.
	@$(CLUSTER) up

cluster-demo: ## Train on that cluster over Flight SQL and print the epochs.
	@$(CLUSTER) demo

cluster-down: ## Stop that cluster; models and data stay. VOLUMES=1 removes them, too.
	@$(CLUSTER) down $(if $(VOLUMES),--volumes)

lint: setup ## Check the formatting, the lints and the documentation's links.
	@cargo fmt --all --check
	@$(ENV) cargo clippy --workspace --all-targets -- -D warnings
	@$(ENV) cargo check -q -p tusk --no-default-features
	@$(ENV) cargo check -q -p tusk-executor --no-default-features

bench: build ## Run the micro-benchmarks.
	@$(ENV) cargo bench --workspace --bench micro --profile dev

study: build ## Train the paper's five models under three losses on IMAGES=folder: writes docs/study.md. Two hours; FULL=1 on a GPU.
	@$(ENV) benches/study/study.py --images "$(IMAGES)" $(if $(FULL),--full)

ablation: build ## Train cnn with and without each ingredient on IMAGES=folder: writes docs/ablation.md. An hour.
	@$(ENV) benches/study/ablation.py --images "$(IMAGES)"

pictures: build ## Draw X-rays, and of them the pictures of the docs: augmentation, and where a net looks. A minute.
	@$(ENV) benches/study/pictures.py

study-modes: build ## Compare the training modes on TABLE=xrays.parquet: writes docs/training-modes.md. Takes hours.
	@python3 benches/modes/compare.py "$(TABLE)" --tusk $(TUSK) --group group

torchvision-weights: build ## Compare logits with torchvision's own modules, from the same weights: 5 minutes.
	@$(ENV) benches/peers/torchvision_weights.py

bench-scale: build ## What an epoch costs beside training, and a thousand workers simulated: about 2 minutes.
	@"$(CARGO_TARGET_DIR)/debug/overhead" && "$(CARGO_TARGET_DIR)/debug/overhead" --validate && "$(CARGO_TARGET_DIR)/debug/simulate"

bench-peers: peers-folders setup ## Measure beside other systems: writes docs/performance.md. IMAGES=folder ORIGINALS=folder [ONLY='decode ...'].
	@$(ENV) benches/report.py --images "$(IMAGES)" --originals "$(ORIGINALS)" $(if $(ONLY),--only $(ONLY))

# Before the build: who named no folder need not wait for it.
peers-folders:
	@test -d "$(IMAGES)" && test -d "$(ORIGINALS)" || { echo "make bench-peers: IMAGES and ORIGINALS are to name folders of JPEGs, a folder per class in each"; exit 2; }

fuzz: ## Fuzz the codec, the SQL parser and the answers: FUZZ_SECONDS=600 each. Takes cargo-fuzz.
	@for target in codec sql answer; do \
	  mkdir -p fuzz/corpus/$$target && cp core/tests/corpus/$$target/* fuzz/corpus/$$target/ && \
	  RUSTC_BOOTSTRAP=1 cargo fuzz run -s none $$target -- \
	    -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=2048 -malloc_limit_mb=1024 -timeout=20 -max_len=65536 || exit 1; \
	done

docs: setup ## Build the API documentation (the manual is in docs/).
	@$(ENV) RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

clean: ## Remove what was built; libtorch stays.
	@$(ENV) cargo clean
