# The index of all targets; `make` prints it. Each target is one line that calls a task in tasks.py. scripts/bootstrap.sh
# makes the environment (.venv) and keeps it current; it writes to stderr only.

SHELL := /bin/sh
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
INVOKE := .venv/bin/invoke

export NOETL_HOME ?= $(CURDIR)/.noetl

# The parameters of targets. Their text is passed on as it was typed, `$$` and quotes included.
PARAMETERS := PLAYBOOK PAYLOAD INPUT SET ID DDL ARGS
$(foreach name,$(PARAMETERS),$(eval override export $(name) := $$(value $(name))))

.PHONY: help
help: ## Print this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  %-24s %s\n", $$1, $$2}' Makefile

.PHONY: venv
venv:
	@sh scripts/bootstrap.sh

.PHONY: venv-dev
venv-dev:
	@sh scripts/bootstrap.sh dev

##@ Set up

.PHONY: install
install: venv ## Make .venv with the command .venv/bin/noetl (every other target does it too)
	@$(INVOKE) install

.PHONY: requirements
requirements: ## Pin the newest versions that pyproject.toml allows, with hashes (needs uv)
	@sh scripts/requirements.sh

##@ Database (none is needed: without settings an embedded Postgres is started)

.PHONY: postgres-up
postgres-up: venv ## Start a Postgres in Docker and print the .env lines that make the program use it
	@$(INVOKE) postgres-up

.PHONY: postgres-down
postgres-down: venv ## Stop that Postgres; its data stays in the volume
	@$(INVOKE) postgres-down

.PHONY: postgres-reset-schema
postgres-reset-schema: venv ## Drop the schema with all its data and apply it anew, without asking
	@$(INVOKE) postgres-reset-schema

##@ Server and workers (in the background)

.PHONY: start-server
start-server: venv ## Start the API server (NOETL_INIT_DB=true applies the schema first)
	@$(INVOKE) start-server

.PHONY: stop-server
stop-server: venv ## Stop the server
	@$(INVOKE) stop-server

.PHONY: server-status
server-status: venv ## Show whether the server runs, and its address
	@$(INVOKE) server-status

.PHONY: worker-start
worker-start: venv ## Start one worker process (ARGS="--processes 2 --slots 32")
	@$(INVOKE) worker-start

.PHONY: worker-stop
worker-stop: venv ## Stop the workers of this clone when their running calls have ended
	@$(INVOKE) worker-stop

.PHONY: logs
logs: venv ## Show the last 50 lines of each log of server and workers
	@$(INVOKE) logs

##@ Playbooks

.PHONY: noetl-execute
noetl-execute: venv ## Execute a playbook, after starting missing processes: PLAYBOOK=examples/test/simple_test [PAYLOAD='{...}'] [INPUT=FILE] [SET='a.b=1 c=x']
	@$(INVOKE) noetl-execute

.PHONY: noetl-execute-status
noetl-execute-status: venv ## Show the status of an execution: ID=...
	@$(INVOKE) noetl-execute-status

.PHONY: noetl-execute-watch
noetl-execute-watch: venv ## Follow an execution to its end: ID=...
	@$(INVOKE) noetl-execute-watch

.PHONY: register-examples
register-examples: venv ## Register every playbook under examples/
	@$(INVOKE) register-examples

##@ Exports, as JSON files under logs/

.PHONY: export-execution-logs
export-execution-logs: venv ## Write all tables below for one execution: ID=...
	@$(INVOKE) export-execution-logs

.PHONY: export-event-log export-queue export-workload export-workflow export-transition export-workbook export-runtime export-error-log
export-event-log: venv ## Write logs/event_log.json: ID=...
	@$(INVOKE) export-table event_log
export-queue: venv ## Write logs/queue.json: ID=...
	@$(INVOKE) export-table queue
export-workload: venv ## Write logs/workload.json: ID=...
	@$(INVOKE) export-table workload
export-workflow: venv ## Write logs/workflow.json: ID=...
	@$(INVOKE) export-table workflow
export-transition: venv ## Write logs/transition.json: ID=...
	@$(INVOKE) export-table transition
export-workbook: venv ## Write logs/workbook.json: ID=...
	@$(INVOKE) export-table workbook
export-runtime: venv ## Write logs/runtime.json: ID=...
	@$(INVOKE) export-table runtime
export-error-log: venv ## Write logs/error_log.json: ID=...
	@$(INVOKE) export-table error_log

##@ Development

.PHONY: test
test: venv-dev ## Run the tests (ARGS="-k name")
	@$(INVOKE) test

.PHONY: check
check: venv-dev ## Run ruff, mypy --strict and the test of the layers
	@$(INVOKE) check

.PHONY: fuzz
fuzz: venv-dev ## Search for templates that exceed their budget (NOETL_TEST_FUZZ=20000 of them)
	@$(INVOKE) fuzz

.PHONY: bench
bench: venv-dev ## Measure steps per second, latency in ms and memory in MiB
	@$(INVOKE) bench

.PHONY: clean
clean: ## Stop all processes, remove environment, caches and logs; the database stays
	@sh scripts/clean.sh

.PHONY: clean-data
clean-data: ## As clean, and remove the embedded database with all its data
	@sh scripts/clean.sh --data
