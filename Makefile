# Every target sets up what it needs; `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

VENV := .venv
BIN := $(VENV)/bin
LAB_NODES ?= 8
BENCH_VENV := .cache/bench
SCENARIO ?= default
SCENARIOS_AT_ONCE ?= 2
TOOLS := .cache/tools
BROWSER := "chromium=chromium fonts-dejavu-core"
FAULTS := curl=curl iptables=iptables mkfs.ext4=e2fsprogs
# Without the system's own folders a bare environment, or a user's, has no awk or ip.
export PATH := $(CURDIR)/$(BIN):$(or $(PATH),/usr/local/bin:/usr/bin:/bin):/usr/local/sbin:/usr/sbin:/sbin:$(CURDIR)/$(TOOLS)/usr/bin
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg

PYTHON_PACKAGES := orchestrator/src inventory_plugins library module_utils filter_plugins lookup_plugins callback_plugins action_plugins roles/p2p_health tests molecule \
  collections/ansible_collections/p2p/cluster/plugins
LAB_INVENTORY := inventory/lab/distributed_hosts.yaml

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: venv
venv: $(VENV)/.lock ## set up .venv from the hash lock

$(VENV)/.lock: requirements/dev.txt
	scripts/venv $(VENV) requirements/dev.txt

.PHONY: image
image: ## install and start Docker if it is missing, build the node image
	scripts/lab-image

.PHONY: lab
lab: venv image ## start the lab's containers, deploy to them, print their health (LAB_NODES=8)
	ansible-playbook -i localhost, playbooks/lab.yml -e p2p_lab_nodes=$(LAB_NODES)
	ansible-playbook -i $(LAB_INVENTORY) deploy.yml
	ansible-playbook -i $(LAB_INVENTORY) health.yml -e p2p_health_fail_on=degraded

.PHONY: lab-down
lab-down: venv ## remove the lab
	@if docker version >/dev/null 2>&1; then ansible-playbook -i localhost, playbooks/lab_down.yml; \
	else echo "no Docker answers: there is no lab to remove"; fi

.PHONY: lock
lock: venv ## write the hash locks anew from requirements/*.in
	cd requirements && for set in node:3.10 runtime:3.11 dev:3.11 bench:3.11; do \
	  uv pip compile --quiet --universal --generate-hashes --no-header --no-emit-index-url \
	    --python-version "$${set#*:}" "$${set%:*}.in" --output-file "$${set%:*}.txt"; done

artifacts: export PYTHONPATH := $(CURDIR)/collections:$(CURDIR)

.PHONY: artifacts
artifacts: venv ## build releases for a controller without a package index, into dist/artifacts (OPTIONS="--platform linux-aarch64 --python 3.12")
	@python -m ansible_collections.p2p.cluster.plugins.plugin_utils.artifact $(OPTIONS)

.PHONY: test
test: venv image ## everything: lint, unit, integration, previews, hostile nodes, every Molecule scenario
	# Both at once would wait for apt's lock.
	scripts/tools $(TOOLS) shellcheck=shellcheck etcd=etcd-server etcdctl=etcd-client
	scripts/programs $(FAULTS) openssl=openssl
	# What is measured with a cluster mostly waits: meanwhile there is a core for others, which stand back.
	$(MAKE) --jobs 2 --output-sync=target test-cluster lint test-unit
	$(MAKE) test-nodes
	# These mostly wait, too, and have fleets of their own. Molecule leaves no core idle.
	$(MAKE) --jobs 2 --output-sync=target test-preview test-hostile
	$(MAKE) test-molecule

.PHONY: lint
lint: venv ## ruff, mypy, yamllint, ansible-lint, ansible-builder, shellcheck
	scripts/tools $(TOOLS) shellcheck=shellcheck
	ruff format --check .
	ruff check .
	mypy $(PYTHON_PACKAGES)
	yamllint --strict .
	ansible-lint --strict
	ansible-builder create --context .cache/execution-environment >/dev/null
	find scripts lab .ci -type f -print0 | xargs -0 grep -lZ -m1 '^#!/usr/bin/env bash' | xargs -0 shellcheck scripts/node-ssh

.PHONY: test-unit
test-unit: venv ## unit tests
	scripts/programs ssh=openssh-client git=git openssl=openssl
	nice pytest -n auto tests/unit

.PHONY: test-integration
test-integration: test-cluster test-nodes ## the orchestrator against a real etcd, the modules in real containers, the page in a browser

.PHONY: test-cluster
test-cluster: venv image ## the orchestrator against a real etcd
	scripts/tools $(TOOLS) etcd=etcd-server etcdctl=etcd-client
	scripts/programs $(FAULTS) openssl=openssl
	pytest -n 3 tests/integration/orchestrator

.PHONY: test-nodes
test-nodes: venv image ## the modules in real containers, the page in a browser
	scripts/tools $(TOOLS) etcd=etcd-server etcdctl=etcd-client
	scripts/programs $(BROWSER) $(FAULTS) openssl=openssl
	# One at a time, since these look at this machine's processes; the orchestrators of others would be found.
	pytest tests/integration/health tests/integration/ssh
	pytest -n 2 --dist loadfile tests/integration/deploy tests/integration/identity tests/integration/modules tests/integration/nodes

.PHONY: test-preview
test-preview: venv image ## each playbook previewed and run over the same fleet of start states: predicted against actual
	python -m tests.preview

.PHONY: test-hostile
test-hostile: venv image ## every playbook over nodes that lie and over real voters of which two lie, and a cluster under attack: a sample by HOSTILE_SEED, everything with FULL=1
	scripts/tools $(TOOLS) etcd=etcd-server etcdctl=etcd-client
	scripts/programs ssh=openssh-client
	pytest -n 2 tests/hostile

.PHONY: test-modules
test-modules: venv image ## the modules alone: unit tests, and every managed thing of a real node changed in turn
	scripts/tools $(TOOLS) etcd=etcd-server etcdctl=etcd-client
	pytest tests/unit/modules tests/integration/modules

.PHONY: test-orchestrator
test-orchestrator: venv image ## the orchestrator alone: unit, simulated schedules, faults under a real etcd
	scripts/tools $(TOOLS) etcd=etcd-server etcdctl=etcd-client
	scripts/programs $(FAULTS)
	pytest tests/unit/orchestrator tests/integration/orchestrator

.PHONY: test-health
test-health: venv ## the health report alone, and its page in a real browser
	scripts/programs $(BROWSER)
	pytest tests/unit/health tests/integration/health

.PHONY: bench-inventory
bench-inventory: venv ## the inventory plugin beside Ansible's own
	python tests/bench/inventory/compare.py

bench-probe bench-health bench-deploy bench-settings: LAB_NODES = 32

.PHONY: bench-probe
bench-probe: lab ## one probe beside a one-task play and a bare ssh, on a lab of 32
	python tests/bench/probe/bench.py $(LAB_INVENTORY)

.PHONY: bench-health
bench-health: lab ## health.yml beside a bare ssh and a script of five logins, on the lab, with and without dead nodes
	python tests/bench/health/bench.py $(LAB_INVENTORY) --dead 8

$(BENCH_VENV)/.lock: requirements/bench.txt | venv
	scripts/venv $(BENCH_VENV) requirements/bench.txt

.PHONY: bench-deploy
bench-deploy: venv image lab-down $(BENCH_VENV)/.lock ## deploys of every kind beside pyinfra and a script, on a new lab of 32
	ansible-playbook -i localhost, playbooks/lab.yml -e p2p_lab_nodes=$(LAB_NODES) -e p2p_lab_containers=false
	python -m tests.bench.deploy.bench $(LAB_INVENTORY)

.PHONY: bench-settings
bench-settings: lab ## what each setting of ansible.cfg is worth, on a lab of 32
	python -m tests.bench.settings.bench $(LAB_INVENTORY)

bench-scale bench-controller: export PYTHONPATH := $(CURDIR)/collections

.PHONY: bench-scale
bench-scale: venv ## the inventory, the plan and the health report of 1,000 and 5,000 simulated nodes (OPTIONS="--plays 1000")
	python -m tests.bench.scale.bench $(OPTIONS)

.PHONY: bench-controller
bench-controller: venv ## deploy.yml and health.yml of two checkouts in turn, by real ssh (OPTIONS="--beside <checkout>")
	python -m tests.bench.controller.bench $(OPTIONS)

.PHONY: bench-orchestrator
bench-orchestrator: venv ## one heartbeat alone; five voters under 1,000 simulated nodes
	scripts/tools $(TOOLS) etcd=etcd-server etcdctl=etcd-client
	python -m tests.bench.orchestrator.heartbeat
	python -m tests.bench.orchestrator.bench

.PHONY: test-molecule
test-molecule: venv image ## every Molecule scenario, SCENARIOS_AT_ONCE=2 of them side by side
	scripts/molecule-all $(SCENARIOS_AT_ONCE)

.PHONY: molecule
molecule: venv image ## one Molecule scenario: make molecule SCENARIO=default
	scripts/molecule $(SCENARIO)
