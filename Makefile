# make          build build/pyoci, one static file; and into the tree, and a private installation in build/
# make demo     run bundles/hello
# make test     the whole suite; TESTS=tests/unit for a part, PYTEST_ARGS=… for more
# make install  PREFIX=/usr/local, DESTDIR=
# make mutants  change one thing at a time in what security depends on; MODULES=pyoci/… for some
# make golden   write the golden plans, and the plans in docs/concepts.md, anew; review the difference
# make debian13 lint bench clean
#
# SNAPSHOT=0 builds the static file without the recording of its start (native/static/README.md).
#
# What is missing is installed first: Debian's packages when this is root (else they are named),
# Python's into build/venv.

PYTHON ?= /usr/bin/python3
PREFIX ?= /usr/local
TESTS ?= tests
PYTEST_ARGS ?=
SNAPSHOT ?= 1
export SNAPSHOT

VENV := build/venv
BIN := $(VENV)/bin
SOURCES := $(shell find pyoci -name '*.py' -o -name '*.json' 2>/dev/null)
NATIVE := $(shell find native -type f 2>/dev/null) $(wildcard .git/logs/HEAD)

.PHONY: all demo test mutants install lint golden bench clean
.DELETE_ON_ERROR:

all: build/pyoci build/bin/pyoci

build/deps: native/deps native/install-deps
	@mkdir -p build
	native/install-deps native/deps
	@touch $@

build/test-deps: build/deps $(wildcard tests/deps)
	native/install-deps $(wildcard tests/deps) </dev/null
	@touch $@

$(VENV)/build: build/deps pyproject.toml native/extras.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python native/extras.py build
	@touch $@

$(VENV)/test: $(VENV)/build
	$(BIN)/python native/extras.py test
	@touch $@

pyoci/_native.abi3.so: $(VENV)/build $(NATIVE) pyoci/__init__.py
	$(BIN)/python native/build.py
	@touch $@

build/bin/pyoci: pyoci/_native.abi3.so $(SOURCES)
	$(BIN)/python native/install.py build --launcher

# It shares objects with the extension.  Where it cannot be made it is a link to build/bin/pyoci.
build/pyoci: pyoci/_native.abi3.so $(SOURCES) build/form-$(SNAPSHOT)
	$(BIN)/python native/static/executable.py
	@touch -h $@

build/form-$(SNAPSHOT):
	@mkdir -p build && rm -f build/form-*
	@touch $@

# The static file with Debian 13's Python, 3.13; as root, with debootstrap.
debian13: build/pyoci
	$(BIN)/python -m tests.vm.debian13 build/pyoci-debian13

install: pyoci/_native.abi3.so build/pyoci
	$(BIN)/python native/install.py $(PREFIX) --destdir "$(DESTDIR)"

demo: all
	@$(BIN)/python bundles/demo.py build/pyoci

test: all $(VENV)/test build/test-deps
	$(BIN)/python -m pytest $(PYTEST_ARGS) $(TESTS)

mutants: pyoci/_native.abi3.so $(VENV)/test build/test-deps
	$(BIN)/python -m tests.mutants $(MODULES)

lint: $(VENV)/test
	$(BIN)/ruff check pyoci native tests
	$(BIN)/mypy

golden: pyoci/_native.abi3.so $(VENV)/test
	$(BIN)/python -m tests.golden

bench: all $(VENV)/test
	$(BIN)/python -m tests.bench

clean:
	rm -rf build dist bundles/*/rootfs pyoci/_native.abi3.so
	find pyoci tests -name __pycache__ -prune -exec rm -rf {} +
