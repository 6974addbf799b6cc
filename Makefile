# What a person does with this checkout. Written for GNU make and BSD make alike, and for paths with spaces:
# everything is called by a relative name. What is made goes to .venv/ and .cache/, and the core to gfwd/native/.

PYTHON ?= python3
JOBS ?= auto
BENCH ?=
BINARY ?=
TARGET ?=
RELEASE ?= 14
PACKAGE ?=
DEB ?=
PY = .venv/bin/python
# The order of the tests is that of the files: whichever worker has run out of them takes half of another's.
WORKERS = -n $(JOBS) --dist worksteal
TESTS = $(PY) -m pytest $(WORKERS)
BINARY_TOOLS = $(PY) -m pip install --quiet --disable-pip-version-check --no-build-isolation --require-hashes \
	-r requirements-binary.lock
# What a user's day is made of: these start the single binary where there is no Python.
BARE_ROOT = tests/e2e/test_bare_root.py tests/e2e/test_cli.py tests/e2e/test_control.py tests/e2e/test_inspect_live.py \
	tests/e2e/test_names_live.py tests/e2e/test_reload.py tests/e2e/test_replay.py tests/e2e/test_run.py

all: core ## .venv/bin/gfwd, ready to run (the default)
	@echo "ready: .venv/bin/gfwd"

core: .venv/bin/gfwd
	@$(PY) build/native.py >/dev/null

# The core is built first: where the compiler has something to say, it says it plainly, without pip around it.
.venv/bin/gfwd: .venv/stamp pyproject.toml setup.py
	$(PY) build/native.py
	$(PY) -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@touch .venv/bin/gfwd

.venv/stamp: requirements.lock build/bootstrap.sh
	sh build/bootstrap.sh "$(PYTHON)"
	"$(PYTHON)" -m venv --clear .venv
	$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch .venv/stamp

binary: core .venv/stamp-binary ## .cache/binary/gfwd, all in one executable (TARGET=x86_64-freebsd: for that, on Linux)
	$(PY) build/binary.py $(TARGET:%=--target %) $(BINARY)

# Nuitka comes as source, and is built by the setuptools of requirements.lock.
.venv/stamp-binary: .venv/stamp requirements-binary.lock
	$(BINARY_TOOLS)
	@touch .venv/stamp-binary

# The executable is made by make binary, where there is none of these sources.
package: .venv/stamp ## .cache/package/…/gfwd-VERSION.pkg, for FreeBSD (TARGET=aarch64-freebsd, RELEASE=15; docs/freebsd.md)
	$(PY) build/package.py --target "$(TARGET)" --release $(RELEASE) $(PACKAGE)

manual: .venv/stamp ## packaging/man/ anew, after options or keys have changed
	@$(PY) build/manual.py

deb: binary ## .cache/package/gfwd_VERSION_ARCHITECTURE.deb, of the single binary (docs/linux.md)
	$(PY) build/deb.py $(DEB)

completion: .venv/stamp ## packaging/completion/ anew, after options have changed
	@$(PY) build/completion.py

demo: core ## shows the job: as root on Linux live, in namespaces; else from capture to capture
	@sh build/demo.sh

test: lint sanitized core tools tested-binary proven ## everything: lint, the core under sanitizers, the single binary, all tests
	$(TESTS)

quick: core ## what a change breaks first, in minutes: the tests that start neither a gfwd nor a compiler for another system
	$(TESTS) -m "not recipe" tests/unit tests/native tests/oracle

# Not needed, but where they are missing some tests are skipped.
tools:
	@sh build/test_tools.sh

# Where it cannot be made, as without Nuitka, that is said, and the other tests go on.
tested-binary: core ## the single binary in a root file system without Python
	@[ -e .venv/stamp-binary ] || { $(BINARY_TOOLS) && touch .venv/stamp-binary; } || true
	binary=$$($(PY) build/binary.py --if-possible $(BINARY)) && { [ -z "$$binary" ] || \
		$(TESTS) --bare-root --gfwd "'$$binary'" $(BARE_ROOT); }

# On FreeBSD there is nothing to be proven: it makes its own binary.
proven: core
	@[ "$$(uname)" != Linux ] || $(PY) build/binary.py --is-proven || $(MAKE) binary TARGET=x86_64-freebsd

sanitized: core ## the tests of the core under ASan and UBSan
	sh build/sanitized.sh $(WORKERS) -m "not recipe and not pure" tests/native tests/oracle tests/fuzz

lint: .venv/stamp ## ruff and mypy
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy

bench: core ## measures the core on this machine
	.venv/bin/gfwd bench core --instructions $(BENCH)

bench-xdp: core ## measures AF_XDP in network namespaces, beside other forwarders (Linux, root, ten minutes)
	$(PY) -m tests.bench.xdp $(BENCH)

lock: ## the two locks anew for what pyproject.toml asks (UPGRADE=--upgrade: newest of everything)
	sh build/lock.sh "$(PYTHON)" $(UPGRADE)

clean: ## removes all that was made
	rm -rf .venv .cache gfwd.egg-info gfwd/native/*.so gfwd/native/_built.py
	find gfwd build tests -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' Makefile

.PHONY: all core binary package manual deb completion demo test quick tools tested-binary proven sanitized lint bench bench-xdp \
	lock clean help
