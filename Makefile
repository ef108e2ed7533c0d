# SPDX-License-Identifier: BSD-2-Clause
# The front door. Every target sets up what it needs: Debian packages, a virtual environment, a build.

PYTHON ?= /usr/bin/python3
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin

# pip and meson-python take meson and ninja from PATH: ours come first, Debian's are too old.
export PATH := $(BIN):$(PATH)

# Two processes at a time run the tests of a file each; JOBS=0 runs one test after the other.
JOBS := 2
PARALLEL := -n $(JOBS) --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help demo dev module qemu test test-quick lint format bench clean distclean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

demo: dev ## two real guests exchange packets through a VALE switch
	@$(BIN)/ringpass demo --output out

dev: build/editable.stamp ## build all, leave the command at .venv/bin/ringpass

module: dev ## the guest's driver, ringpass.ko, for the kernel of the guest image
	@$(BIN)/ringpass image module

qemu: packages-qemu dev ## QEMU with the patches of qemu-patches/, into the cache
	@$(BIN)/ringpass qemu build

test: packages-test packages-bench dev ## the whole suite: C, C with sanitizers, Python, real guests
	@$(BIN)/pytest $(PARALLEL)

test-quick: packages-test dev ## all but the guests, under two minutes
	@$(BIN)/pytest $(PARALLEL) -m "not guest and not slow"

lint: packages-lint dev ## ruff, mypy, clang-format, clang-tidy, cppcheck, shellcheck, sparse, checkpatch
	@scripts/lint.sh

format: packages-lint dev ## rewrite Python and C files in the project's format
	@scripts/lint.sh --fix

bench: packages-bench dev ## every benchmark, as tables
	@$(BIN)/ringpass bench switch
	@$(BIN)/ringpass bench pipe
	@$(BIN)/ringpass bench passthrough
	@$(BIN)/ringpass bench monitor
	@$(BIN)/ringpass bench ringport
	@$(BIN)/ringpass bench vhost
	@$(BIN)/ringpass bench control
	@$(BIN)/ringpass bench instructions
	@$(BIN)/ringpass bench g2g

clean: ## remove what was built
	rm -rf build

distclean: clean ## also remove the virtual environment and the tools' caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis

.PHONY: packages-demo packages-qemu packages-test packages-lint packages-bench
packages-demo:
	@scripts/install-packages.sh scripts/packages-demo.txt
packages-qemu packages-lint packages-bench:
	@scripts/install-packages.sh scripts/packages-demo.txt scripts/$@.txt
packages-test:
	@scripts/install-packages.sh scripts/packages-demo.txt scripts/packages-qemu.txt scripts/$@.txt

# The environment holds the build requirements and the dependencies, all of them from pyproject.toml.
# --use-pep517: libvirt-python has no pyproject.toml, and pip's old way for such needs more packages.
$(VENV)/ready.stamp: pyproject.toml scripts/requirements.py | packages-demo
	@echo "preparing $(VENV): Python packages" >&2
	@$(PYTHON) -m venv $(VENV)
	@$(PYTHON) scripts/requirements.py > $(VENV)/requirements.txt
	@$(BIN)/pip install --quiet --use-pep517 --requirement $(VENV)/requirements.txt
	@touch $@

# What is compiled is looked after at import; which packages there are is settled when it is installed.
build/editable.stamp: $(VENV)/ready.stamp $(wildcard meson.build */meson.build)
	@echo "building the data plane" >&2
	@$(BIN)/pip install --quiet --no-build-isolation --no-deps --editable .
	@touch $@
