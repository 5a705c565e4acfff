# All commands of the repository. `make help` lists them. Continuous integration calls nothing else.

SHELL := /bin/sh
TUSK_TORCH ?= cpu
TUSK_LIBTORCH_DIR ?= $(CURDIR)/.libtorch
CARGO_TARGET_DIR ?= $(CURDIR)/target
# LIBTORCH takes precedence. All cargo calls get the same value, because torch-sys is rebuilt when it changes.
BUILD_LIBTORCH := $(or $(LIBTORCH),$(abspath $(TUSK_LIBTORCH_DIR))/$(TUSK_TORCH))
ENV := CARGO_TARGET_DIR="$(CARGO_TARGET_DIR)" LIBTORCH="$(BUILD_LIBTORCH)"
# Two profiles: one for the demo, the tests and everyday work; one for what is measured, installed and put into containers.
DEV := $(CARGO_TARGET_DIR)/debug
DIST := $(CARGO_TARGET_DIR)/dist
PROGRAMS := -p tusk -p tusk-scheduler -p tusk-executor --bins
PREFIX ?= $(HOME)/.local
PYTHON_DIR := $(CARGO_TARGET_DIR)/python
CLUSTER := $(ENV) TUSK_TORCH=$(TUSK_TORCH) docker/cluster.sh

FUZZ_SECONDS ?= 600

.PHONY: help setup build dist install demo test test-faults cluster cluster-demo cluster-down lint bench bench-scale bench-peers peers-folders paper ablation study-shift illustrations training-modes torchvision-weights fuzz docs clean

help: ## Show this help.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-20s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "TUSK_TORCH=cuda builds against CUDA. LIBTORCH=/path uses an existing libtorch of the version in scripts/libtorch-requirements.txt."

setup: ## Install the build's requirements; prints them first.
	@TUSK_LIBTORCH_DIR="$(TUSK_LIBTORCH_DIR)" CARGO_TARGET_DIR="$(CARGO_TARGET_DIR)" scripts/setup.sh $(TUSK_TORCH)

# Every set of packages below asks the dependencies for the same features, so they are compiled once per profile.
build: setup ## Build the programs `tusk`, `tusk-scheduler` and `tusk-executor` for everyday work.
	@$(ENV) cargo build $(PROGRAMS)

dist: setup ## Build the programs for release: optimized and stripped.
	@$(ENV) cargo build --profile dist $(PROGRAMS)

install: dist ## Install the release build to PREFIX/bin and libtorch to PREFIX/lib/tusk; PREFIX is ~/.local.
	@LIBTORCH="$(BUILD_LIBTORCH)" scripts/install.sh "$(DIST)" "$(PREFIX)"

demo: setup ## Train, evaluate and use a CNN on synthetic X-rays: about 3 minutes.
	@$(ENV) cargo build -p tusk --bin tusk
	@"$(DEV)/tusk" demo

test: build ## Run all tests: of the crates, then of clusters of processes and containers.
	@$(ENV) cargo test --workspace
	@$(MAKE) --no-print-directory test-faults

test-faults: build ## Run only the cluster tests, with killed processes and networks. PYTEST='-k NAME' selects.
	@scripts/python.sh "$(PYTHON_DIR)"
	@docker info >/dev/null 2>&1 || echo "no Docker engine is reachable: container tests are skipped"
	@$(ENV) TUSK_BIN="$(DEV)" "$(PYTHON_DIR)/bin/python" -m pytest -n 2 --dist loadfile tests/cluster $(PYTEST)

cluster: dist ## Start a cluster of containers on this machine: scheduler, three executors, JupyterLab.
	@TUSK_BIN="$(DIST)" $(CLUSTER) up

cluster-demo: ## Train on that cluster over Flight SQL and print the epochs.
	@$(CLUSTER) demo

cluster-down: ## Stop that cluster and keep models and data. VOLUMES=1 removes them too.
	@$(CLUSTER) down $(if $(VOLUMES),--volumes)

lint: setup ## Check the formatting, the lints and the documentation's links.
	@cargo fmt --all --check
	@$(ENV) cargo clippy --workspace --all-targets -- -D warnings
	@$(ENV) cargo clippy -q -p tusk-executor --lib --no-default-features -- -D warnings
	@$(ENV) cargo clippy -q -p tusk --no-default-features -- -D warnings

bench: setup ## Run the micro-benchmarks of the release build.
	@$(ENV) cargo bench -p tusk-benches --bench micro --profile dist

paper: dist ## Train five models under three losses on IMAGES=folder, as the paper does: writes docs/paper.md. Two hours; FULL=1 on a GPU.
	@$(ENV) benches/experiments/paper.py --images "$(IMAGES)" $(if $(FULL),--full)

ablation: dist ## Train cnn with one option changed at a time on IMAGES=folder: writes docs/ablation.md. 90 minutes.
	@$(ENV) benches/experiments/ablation.py --images "$(IMAGES)"

study-shift: dist ## Test cnn on X-rays of IMAGES=folder that were acquired otherwise than the training X-rays: writes docs/study-shift.md. 90 minutes.
	@$(ENV) benches/experiments/study_shift.py --images "$(IMAGES)"

illustrations: dist ## Make the illustrations of the manual from synthetic X-rays: augmentation and heat maps. A minute.
	@$(ENV) benches/experiments/illustrations.py

training-modes: dist ## Compare the training modes on TABLE=xrays.parquet: writes docs/training-modes.md. Takes hours.
	@python3 benches/experiments/training_modes.py "$(TABLE)" --tusk "$(DIST)/tusk" --group group

torchvision-weights: build ## Compare logits with torchvision's own modules, from the same weights: 5 minutes.
	@$(ENV) benches/peers/torchvision_weights.py --bin "$(DEV)"

bench-scale: setup ## Measure the overhead of an epoch and simulate a thousand workers: about 2 minutes.
	@$(ENV) cargo build --profile dist -p tusk-benches --bins
	@"$(DIST)/overhead" && "$(DIST)/overhead" --validate && "$(DIST)/simulate"

bench-peers: peers-folders setup ## Compare with other systems: writes docs/performance.md. IMAGES=folder ORIGINALS=folder [ONLY='decode ...'].
	@$(ENV) benches/report.py --images "$(IMAGES)" --originals "$(ORIGINALS)" $(if $(ONLY),--only $(ONLY))

# Runs before the build, so that a missing folder is reported at once.
peers-folders:
	@test -d "$(IMAGES)" && test -d "$(ORIGINALS)" || { echo "make bench-peers: set IMAGES and ORIGINALS to folders of JPEGs, with one subfolder per class"; exit 2; }

fuzz: ## Fuzz the codec, the SQL parser and the task outputs: FUZZ_SECONDS=600 each. Needs cargo-fuzz.
	@for target in codec sql task_output; do \
	  mkdir -p fuzz/corpus/$$target && cp */tests/corpus/$$target/* fuzz/corpus/$$target/ && \
	  RUSTC_BOOTSTRAP=1 cargo fuzz run -s none $$target -- \
	    -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=2048 -malloc_limit_mb=1024 -timeout=20 -max_len=65536 || exit 1; \
	done

docs: setup ## Build the API documentation (the manual is in docs/).
	@$(ENV) RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

clean: ## Remove the build output and keep libtorch.
	@$(ENV) cargo clean
