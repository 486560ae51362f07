# One command per wish; `make help` lists them. Everything lands in .venv/ and build/, nothing outside this folder
# (but for missing system packages, which root gets installed and everybody else gets named).

PYTHON ?= python3
VENV := .venv
SANITIZED := .venv-sanitize
SHELL := /bin/sh

ONLY ?=
FOR ?=
TESTS ?=
TWICE ?=
RUNS ?= 200
PYTEST_ARGUMENTS ?=
# Compilers side by side; each takes some hundred megabytes.
JOBS ?= 1

# What the installed package is made of; a change in any of it, or in the list itself, makes a new installation.
SOURCES := $(sort $(shell find gsrt firmware_profiles -name '*.py' -o -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' \
	-o -name '*.toml' -o -name py.typed) setup.py pyproject.toml)
# The tests that reach compiled code: what a sanitizer should see. SANITIZE_TESTS=tests runs them all, in some minutes.
SANITIZE_TESTS = $(wildcard tests/core tests/link tests/links tests/relay tests/protocol tests/scripts tests/sessions)
UNDER_SANITIZERS = LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
	PYTHONMALLOC=malloc ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
TREE = $(wildcard gsrt firmware_profiles tests benchmarks docs examples packaging setup.py pyproject.toml README.md LICENSE CHANGELOG.md)

# setup.py, tests and benchmarks find the working tree first; the `gsrt` command runs what is installed.
INSTALL = -m pip install --quiet --disable-pip-version-check
REQUIREMENTS = import sys, tomllib; \
	project = tomllib.load(open("pyproject.toml", "rb")); extras = project["project"]["optional-dependencies"]; \
	print(*project["build-system"]["requires"], *project["project"]["dependencies"], *(line for name in sys.argv[1:] for line in extras[name]), sep="\n")

.PHONY: help build run test kill-test lint bench sanitize sanitized-tree fuzz-link wheel wheels debs arm-test systemd-test clean FORCE
.DEFAULT_GOAL := help

help:
	@echo 'make build      .venv/ with gsrt and the test tools in it'
	@echo 'make run        build, then a server with a demo session; prints the two commands to join it'
	@echo 'make test       build, lint, then every test'
	@echo 'make lint       ruff and mypy'
	@echo 'make bench      every benchmark, or those whose name begins with ONLY=prefix'
	@echo 'make kill-test  the server is killed RUNS=200 times under load; what it acknowledged has to be there'
	@echo 'make sanitize   the codec and relay tests under AddressSanitizer and UndefinedBehaviorSanitizer'
	@echo 'make fuzz-link  RUNS=10000000 mutated datagrams for the links of a server under the same sanitizers'
	@echo 'make wheel      dist/*.whl'
	@echo 'make wheels     wheels for x86-64, aarch64, armv7l and armv6l in dist/, or some: FOR=aarch64,armv6l'
	@echo 'make debs       Debian packages for amd64, arm64 and armhf in dist/'
	@echo 'make arm-test   tests in an emulated Debian with the wheels for ARM; all of them: TESTS=tests'
	@echo '                of Debian 12, or of 13: DEBIAN=13; only some boards: FOR=aarch64,armv7l; SANITIZER=alignment'
	@echo 'make systemd-test  root: the amd64 package on a real systemd in a container (Debian 12, or DEBIAN=13);'
	@echo '                log: build/reports/systemd-test.txt'
	@echo 'make clean      removes all of that again'

build: $(VENV)/installed

run: build
	$(VENV)/bin/gsrt serve --demo red,blue

test: JOBS = 2
test: build lint
	$(VENV)/bin/python -m pytest $(PYTEST_ARGUMENTS)

kill-test: build
	$(VENV)/bin/python -m tests.platform.killing --runs $(RUNS)

lint: build
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

bench: build $(VENV)/bench-tools
	$(VENV)/bin/python -m benchmarks $(ONLY)

wheel: build
	$(VENV)/bin/python -m pip wheel --quiet --disable-pip-version-check --no-build-isolation --no-deps --wheel-dir dist .
	@ls dist/*.whl

# Compilers, headers, libraries and emulated machines are got once, below build/cross. TWICE=1 builds everything there
# once more, from nothing, and compares.
CROSS = PYTHONPATH=packaging $(PYTHON) -B -m
wheels debs arm-test systemd-test: JOBS = 2

wheels:
	$(CROSS) cross.wheels $(if $(FOR),--for $(FOR)) $(if $(TWICE),--twice) --jobs $(JOBS)

debs:
	$(CROSS) deb.build $(if $(FOR),--for $(FOR)) $(if $(TWICE),--twice) --jobs $(JOBS)

# Debian's releases, and the Python that each has.
arm-test systemd-test: DEBIAN = 12
PYTHON_OF_12 = 3.11
PYTHON_OF_13 = 3.13

arm-test:
	$(CROSS) cross.emulation --python '$(PYTHON_OF_$(DEBIAN))' $(if $(FOR),--for $(FOR)) $(if $(TESTS),--tests '$(TESTS)') $(if $(SANITIZER),--sanitizer $(SANITIZER)) --jobs $(JOBS) -- $(PYTEST_ARGUMENTS)

systemd-test: build
	$(CROSS) deb.build --for x86_64 --jobs $(JOBS)
	PYTHONPATH=.:packaging $(VENV)/bin/python -B -m nspawn "$$(ls -t dist/gsrt_*_amd64.deb | head -n 1)" --python '$(PYTHON_OF_$(DEBIAN))' $(if $(ONLY),--only $(ONLY))

# In a copy of the tree, so that the servers which tests start are sanitized too. CPython itself leaks by design at exit,
# so leak detection is off; PYTHONMALLOC=malloc lets the sanitizer see every object, not only the arenas they live in.
sanitize: sanitized-tree
	cd $(SANITIZED)/tree && $(UNDER_SANITIZERS) ../bin/python -m pytest $(SANITIZE_TESTS) $(PYTEST_ARGUMENTS)

fuzz-link: RUNS = 10000000
fuzz-link: sanitized-tree
	cd $(SANITIZED)/tree && $(UNDER_SANITIZERS) ../bin/python -m tests.link.fuzz --runs $(RUNS)

sanitized-tree: $(SANITIZED)/tools
	@mkdir -p $(SANITIZED)/tree && cd $(SANITIZED)/tree && rm -rf $(TREE)
	@cp -Rp $(TREE) $(SANITIZED)/tree && rm -f $(SANITIZED)/tree/gsrt/*.so $(SANITIZED)/tree/gsrt/*/*.so
	cd $(SANITIZED)/tree && GSRT_SANITIZE=address,undefined ../bin/python setup.py --quiet build_ext --inplace

clean:
	rm -rf $(VENV) $(SANITIZED) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis gsrt/*.so gsrt/*/*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- how the above comes about -----------------------------------------------------------------------------------

$(VENV)/tools $(SANITIZED)/tools: pyproject.toml .ci/system-packages
	.ci/system-packages $(PYTHON)
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -c '$(REQUIREMENTS)' test > $(@D)/requirements.txt
	$(@D)/bin/python $(INSTALL) --requirement $(@D)/requirements.txt
	@touch $@

$(VENV)/bench-tools: pyproject.toml $(VENV)/tools
	$(VENV)/bin/python -c '$(REQUIREMENTS)' bench > $(VENV)/requirements.txt
	$(VENV)/bin/python $(INSTALL) --requirement $(VENV)/requirements.txt
	@touch $@

# Old Python files under build/ would come back into the package; the compiled modules there are checked by date.
$(VENV)/installed: $(SOURCES) $(VENV)/sources | $(VENV)/tools
	@if [ -d build ]; then find build -path '*/gsrt/*' -name '*.[pt][yo]*' -delete; fi
	$(VENV)/bin/python setup.py --quiet build_ext --inplace --parallel $(JOBS)
	$(VENV)/bin/python $(INSTALL) --no-build-isolation --no-deps --force-reinstall .
	@touch $@

$(VENV)/sources: FORCE | $(VENV)/tools
	@echo '$(SOURCES)' | cmp --silent - $@ || echo '$(SOURCES)' > $@
