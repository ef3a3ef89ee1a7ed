# Everything a developer runs. Needs Python 3.11+ (with pip and venv), git and bash; the rest installs itself into .venv.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

PYTHON ?= python3
RECIPE ?= web-al2023
# Hosts of `make test-os` that run at the same time; they wait about as much as they work.
OS_JOBS ?= 3
SBOM ?= build/ami-bakery.cdx.json
# Bakes of `make faults` that go wrong at the same time; each waits about as much as it works.
FAULT_JOBS ?= 4
UV_VERSION := 0.13.9

# Three at a time, for they wait about as much as they work; a file never split: its tests share one local AWS.
PARALLEL ?= -n 3 --dist loadfile

VENV := .venv
BIN := $(VENV)/bin
LOCKED := $(VENV)/.locked
INSTALLED := $(VENV)/.installed
DOTNET := $(VENV)/.dotnet
DEPENDENCIES := build/lambda/.built
CDK := node_modules/.package-lock.json
CDK_RUN := $(BIN)/node node_modules/aws-cdk/bin/cdk --no-notices
CDK_HINT = printf '%s\n' \
  "make: the CDK stopped, see above. It needs AWS credentials and a Region, e.g." \
  "      AWS_PROFILE=images AWS_REGION=eu-west-1 make $@   (sign in first: aws sso login)" \
  "      and, once per account and Region, make bootstrap." >&2

# The CDK's Python packages drive a Node process: the one of the virtual environment, whatever the machine has.
export PATH := $(CURDIR)/$(BIN):$(PATH)
export JSII_NODE := $(CURDIR)/$(BIN)/node
export PIP_DISABLE_PIP_VERSION_CHECK := 1

##@ Everyday

.PHONY: help
help: ## Show this help
	@awk 'BEGIN { FS = ":.*## " } /^##@/ { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: bake
bake: setup ## Bake RECIPE on the local AWS and watch it (RECIPE=web-al2023)
	@$(BIN)/bakery --local bake "$(RECIPE)"

.PHONY: test
test: setup ## Run the tests: no account, no Docker, no root
	@$(BIN)/pytest --rights test $(PARALLEL) $(PYTEST_ARGS)

.PHONY: check
check: setup ## All that CI runs: format, lint, types, generated files, synthesis, cfn-lint, tests
	@$(MAKE) --no-print-directory format-check lint types generated-check template-check test

##@ Deploy

.PHONY: synth
synth: setup ## Synthesize the stack into cdk.out (no account, no network)
	@CDK_OUTDIR=cdk.out $(BIN)/python app.py
	@echo "Synthesized into cdk.out/"

.PHONY: diff
diff: $(CDK) ## Show what `make deploy` would change in your account
	@$(CDK_RUN) diff $(CDK_ARGS) || { $(CDK_HINT); exit 1; }

.PHONY: bootstrap
bootstrap: $(CDK) ## Prepare an account and Region for the CDK, once
	@$(CDK_RUN) bootstrap $(CDK_ARGS) || { $(CDK_HINT); exit 1; }

.PHONY: deploy
deploy: $(CDK) ## Deploy the stack to your account (credentials and Region from the environment)
	@$(CDK_RUN) deploy $(CDK_ARGS) || { $(CDK_HINT); exit 1; }

##@ Pieces of check

.PHONY: format-check
format-check: $(INSTALLED)
	@$(BIN)/ruff format --check .

.PHONY: lint
lint: $(INSTALLED) ## Ruff
	@$(BIN)/ruff check .

.PHONY: types
types: $(INSTALLED) ## mypy, strict
	@$(BIN)/mypy

.PHONY: generated-check
generated-check: $(INSTALLED)
	@$(BIN)/python -m scripts.generate --check

.PHONY: template-check
template-check: synth
	@$(BIN)/cfn-lint --format parseable 'cdk.out/*.template.json'
	@echo "cfn-lint: no finding"

##@ Change

.PHONY: format
format: $(INSTALLED) ## Format and fix what Ruff can fix
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

.PHONY: generate
generate: $(INSTALLED) ## Write the files made from code: recipe schema, reference, diagram
	@$(BIN)/python -m scripts.generate

.PHONY: lock
lock: $(INSTALLED) ## Renew all locks within the ranges of pyproject.toml and package.json
	@$(BIN)/pip install -qq "uv==$(UV_VERSION)"
	@$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-header --python-version 3.13 \
	  --python-platform aarch64-manylinux_2_28 --only-binary :all: \
	  pyproject.toml --output-file functions/requirements.lock
	@$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-header --universal --python-version 3.11 \
	  --constraints functions/requirements.lock --group dev \
	  pyproject.toml --output-file requirements.lock
	@rm -f package-lock.json
	@$(BIN)/node "$$($(BIN)/python infra/node.py npm)" install --package-lock-only --ignore-scripts
	@$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-header --universal --python-version 3.11 \
	  --constraints requirements.lock --group pyproject.toml:dotnet --output-file tests/dotnet/requirements.lock
	@! grep -nE '"resolved"|https?://[^ ]*\.(whl|tar\.gz|tgz)|file:|index-url' \
	  requirements.lock functions/requirements.lock tests/dotnet/requirements.lock package-lock.json

.PHONY: sbom
sbom: $(INSTALLED) ## Write what is in the Lambda functions' asset, as CycloneDX, to SBOM (build/ami-bakery.cdx.json)
	@mkdir -p "$(dir $(SBOM))"
	@$(BIN)/cyclonedx-py requirements functions/requirements.lock --pyproject pyproject.toml \
	  --output-reproducible --output-file "$(SBOM)"
	@echo "$(SBOM)"

# Strict: a package that could not be looked up is not one without vulnerabilities.
.PHONY: audit
audit: $(INSTALLED) ## Look for known vulnerabilities of the Lambda functions' dependencies (needs the network)
	@$(BIN)/pip-audit --strict --require-hashes --disable-pip --progress-spinner off \
	  --vulnerability-service osv --requirement functions/requirements.lock $(AUDIT_ARGS)

##@ Longer runs

.PHONY: test-long
test-long: setup ## Run the tests that bake by the dozen: chains, queues, spot, deployments, aborts
	@$(BIN)/pytest -m long --rights long $(PARALLEL) tests/functional $(PYTEST_ARGS)

.PHONY: test-os
test-os: setup ## Run the documents in booted operating systems (Linux, root, systemd-nspawn)
	@$(BIN)/pytest -m os tests/os -n $(OS_JOBS) $(PYTEST_ARGS)

.PHONY: test-dotnet
test-dotnet: setup $(DOTNET) ## Apply the PowerShell documents' edits with .NET (Linux x86-64): PowerShell itself is not to be had
	@$(BIN)/pytest -m dotnet tests/dotnet $(PYTEST_ARGS)

.PHONY: mutate-os
mutate-os: setup ## Leave out each deletion of the cleaning documents: which does no test miss? (minutes)
	@$(BIN)/python -m tests.os.mutate

.PHONY: faults
faults: setup ## Kill, deny, throttle and lose every call of a bake, one after the other (many minutes)
	@# Notes of an older sweep would exempt rights from mutate-rights; of a part of it, the others stay.
	@$(if $(strip $(PYTEST_ARGS)),,rm -rf build/rights/missed)
	@$(BIN)/pytest -q -n $(FAULT_JOBS) --dist worksteal -m faults --matrix tests/functional/faults/matrix.json \
	  tests/functional/faults $(PYTEST_ARGS)
	@$(BIN)/python -m scripts.generate

.PHONY: rights
rights: setup ## After test and test-long: is any right of the functions used by no test?
	@$(BIN)/python -m tests.rights

.PHONY: mutate-rights
mutate-rights: setup ## After test, test-long and faults: take each right away; is it missed? (many minutes)
	@$(BIN)/python -m tests.rights --mutate $(RIGHTS)

.PHONY: mutants
mutants: setup ## Break the product on purpose, in one way after another: which does no test notice? (minutes)
	@$(BIN)/python -m tests.mutants $(MUTANTS)

.PHONY: bench
bench: setup ## Measure the parts that grow with an account, small and large side by side
	@$(BIN)/python -m benchmarks

##@ Set up

.PHONY: setup
setup: $(INSTALLED) $(DEPENDENCIES) ## Install the tools and fetch the Lambda dependencies (every target does it by itself)

.PHONY: dependencies
dependencies: $(DEPENDENCIES) ## Fetch the Lambda functions' dependencies for Lambda's own platform

.PHONY: clean
clean: ## Remove everything that make made
	rm -rf $(VENV) build cdk.out node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(LOCKED): requirements.lock
	@command -v "$(PYTHON)" >/dev/null || { echo "make: '$(PYTHON)' not found; install Python 3.11 or newer, or say PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  found=$$("$(PYTHON)" -V 2>&1 || true); \
	  echo "make: Python 3.11 or newer is needed, '$(PYTHON)' is $${found:-not working}; say PYTHON=/path/to/python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "make: '$(PYTHON)' has no venv or ensurepip; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "Installing the pinned tools into $(VENV) (about a minute, only when the lock changes)"
	@"$(PYTHON)" -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --no-deps --no-compile --require-hashes --only-binary :all: -r requirements.lock
	@touch $@

$(INSTALLED): $(LOCKED) pyproject.toml infra/node.py
	@$(BIN)/python -m pip install -qq --no-deps --no-build-isolation --editable .
	@ln -sf "$$($(BIN)/python infra/node.py node)" $(BIN)/node
	@touch $@

$(DOTNET): $(INSTALLED) tests/dotnet/requirements.lock
	@echo "Installing .NET into $(VENV) (only for make test-dotnet)"
	@$(BIN)/python -m pip install -qq --no-deps --no-compile --require-hashes --only-binary :all: -r tests/dotnet/requirements.lock
	@touch $@

$(DEPENDENCIES): $(INSTALLED) functions/requirements.lock functions/bakery/aws/__init__.py infra/asset.py scripts/build_dependencies.py
	@$(BIN)/python -m scripts.build_dependencies
	@touch $@

$(CDK): $(INSTALLED) $(DEPENDENCIES) package.json package-lock.json
	@echo "Installing the CDK command line into node_modules"
	@$(BIN)/node "$$($(BIN)/python infra/node.py npm)" ci --ignore-scripts --loglevel=error
	@touch $@
