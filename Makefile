# make          build into the tree, and a private installation in build/
# make demo     run bundles/hello
# make test     the whole suite; TESTS=tests/unit for a part, PYTEST_ARGS=… for more
# make install  PREFIX=/usr/local, DESTDIR=
# make lint bench clean
#
# What is missing is installed first: Debian's packages when this is root (else they are named),
# Python's into build/venv.

PYTHON ?= /usr/bin/python3
PREFIX ?= /usr/local
TESTS ?= tests
PYTEST_ARGS ?=

VENV := build/venv
BIN := $(VENV)/bin
SOURCES := $(shell find pyoci -name '*.py' 2>/dev/null)
NATIVE := $(shell find native -type f 2>/dev/null)

.PHONY: all demo test install lint bench clean
.DELETE_ON_ERROR:

all: build/bin/pyoci

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
	$(BIN)/python native/install.py build

install: pyoci/_native.abi3.so $(SOURCES)
	$(BIN)/python native/install.py $(PREFIX) --destdir "$(DESTDIR)"

demo: all
	@$(BIN)/python bundles/demo.py build/bin/pyoci

test: all $(VENV)/test build/test-deps
	$(BIN)/python -m pytest $(PYTEST_ARGS) $(TESTS)

lint: $(VENV)/test
	$(BIN)/ruff check pyoci native tests
	$(BIN)/mypy

bench: all $(VENV)/test
	$(BIN)/python -m tests.bench

clean:
	rm -rf build dist bundles/*/rootfs pyoci/_native.abi3.so
	find pyoci tests -name __pycache__ -prune -exec rm -rf {} +
