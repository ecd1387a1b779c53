# `make demo` and `make test` need Python 3.11 to 3.14 and nothing else; the first run sets up .venv.

VENV := .venv
STATE := $(shell cksum < pyproject.toml | cut -d ' ' -f 1)
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))
PYTHON ?= $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11 python,\
	$(shell $(name) -c '$(SUPPORTED)' 2>/dev/null && echo $(name))))
PYTEST_ARGS ?=
WORKERS ?= 2

.PHONY: help demo test check audit dist bench docs pictures site clean
.DEFAULT_GOAL := help

help: ## Show the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /: /' | sort

demo: $(VENV)/.run-$(STATE) ## Three local nodes, real data, searches, a node that dies: under a minute
	@$(VENV)/bin/miroir demo

test: $(VENV)/.dev-$(STATE) ## The test suite
	@$(VENV)/bin/python -m pytest -q -n $(WORKERS) --dist loadfile $(PYTEST_ARGS)

check: $(VENV)/.dev-$(STATE) ## Format, lint, types, generated pages, links, known vulnerabilities
	@$(VENV)/bin/ruff format --check . >/dev/null 2>&1 || { echo "run ruff format"; exit 1; }
	@$(VENV)/bin/ruff check --quiet .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/python docs/generate.py --check
	@$(VENV)/bin/python docs/build_site.py --check
	@$(VENV)/bin/python -m release.audit

audit: $(VENV)/.dev-$(STATE) ## Known vulnerabilities of what miroir needs
	@$(VENV)/bin/python -m release.audit

dist: $(VENV)/.dev-$(STATE) ## Wheel, source archive, zipapp and bill of materials, in dist/
	@$(VENV)/bin/python -m release.build

bench: $(VENV)/.dev-$(STATE) ## The measurements of docs/benchmarks.md
	@$(VENV)/bin/python -m benchmarks $(ARGS)

pictures: $(VENV)/.dev-$(STATE) ## Record the pictures of the README and the guides anew
	@$(VENV)/bin/python docs/picture.py
	@$(VENV)/bin/python docs/pictures.py $(ARGS)

docs: $(VENV)/.dev-$(STATE) ## Write the generated pages of docs/
	@$(VENV)/bin/python docs/generate.py

site: $(VENV)/.dev-$(STATE) ## The documentation as a site, in site/
	@$(VENV)/bin/python docs/build_site.py

clean: ## Remove .venv and caches
	@rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis dist site .cache

$(VENV)/.run-$(STATE):
	@$(call install,.)
	@touch $@

$(VENV)/.dev-$(STATE):
	@$(call install,.[dev])
	@touch $@ $(VENV)/.run-$(STATE)

define install
echo "setting up $(VENV) (once)" >&2; \
if command -v uv >/dev/null; then \
	{ [ -x $(VENV)/bin/python ] || uv venv --quiet --python '>=3.11,<3.15' $(VENV); } && \
	uv pip install --quiet --python $(VENV)/bin/python --editable '$(1)'; \
elif [ -z "$(PYTHON)" ]; then \
	echo "error: no Python 3.11 to 3.14 found" >&2; exit 1; \
else \
	{ [ -x $(VENV)/bin/pip ] || $(PYTHON) -m venv --clear $(VENV); } && \
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '$(1)'; \
fi
endef
