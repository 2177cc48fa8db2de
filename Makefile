# What a developer does, by name; "make" alone lists it.

GO          ?= go
DATA        ?= ./data
FUZZTIME    ?= 10s
STATICCHECK ?= honnef.co/go/tools/cmd/staticcheck@v0.8.2
RACE        ?= -race
FROM        ?= 0
CHAOS       ?= kill-m
SEEDS       ?= 1 2 3 4 5 6 7 8 9 10
SIMULATIONS = $(if $(findstring command,$(origin SEEDS)),$(SEEDS),30)

.PHONY: help run build test test-clients test-crash test-cluster test-sim cluster-figures chaos chaos-short chaos-proof chaos-long check fmt-check vet staticcheck imports bench fuzz clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

run: build ## build, then serve S3 from six drives below ./data
	@mkdir -p $(DATA)
	./bin/kintsugi server '$(DATA)/d{1...6}'

build: ## build bin/kintsugi
	$(GO) build -o bin/kintsugi ./cmd/kintsugi

test: ## everything CI runs: unit and integration tests under the race detector, then chaos-short and chaos-proof
	$(GO) test $(RACE) -timeout 15m -p 2 ./...
	$(MAKE) chaos-short chaos-proof

test-clients: ## aws, rclone, s3cmd, boto3 and SDKs against a real server; FULL=1: Go's whole source, 3 GiB
	$(GO) test -v -count=1 -timeout 60m -run '^TestClients$$' ./cmd/kintsugi

test-crash: ## kill -9 under load, drives removed and damaged; FULL=1: 50 kills, all pairs of drives
	$(GO) test -v -count=1 -timeout 60m -run '^Test(KillNine|AnyTwo|RestartWithout|FlippedBytes|OneOfTwo|ADriveComesBack|Emptied|Swapped|MoreThanM)' ./cmd/kintsugi

test-sim: ## a cluster in one process, in virtual time, under faults from so many SEEDS (30), from FROM (0) on
	$(GO) test -count=1 -timeout 60m -run '^Test(RaftStorm|LeaderLost|OneWay)' ./internal/sim -sim.seeds=$(SIMULATIONS) -sim.seed=$(FROM)
	$(GO) test -count=1 -timeout 60m -parallel 3 -run '^TestSimulation$$' ./cmd/kintsugi -sim.seeds=$(SIMULATIONS) -sim.from=$(FROM)

test-cluster: ## clusters of processes under load: kill -9, SIGSTOP, rebuild, scale, power cut, strangers; FULL=1: nine nodes
	$(GO) test -v -count=1 -timeout 60m -run '^TestCluster' ./cmd/kintsugi

cluster-figures: ## the same at full size and a comparison with one process; prints one table, keeps bin/cluster-figures.log
	@mkdir -p bin
	@FULL=1 $(GO) test -v -count=1 -timeout 90m -run '^TestCluster' ./cmd/kintsugi > bin/cluster-figures.log 2>&1; \
		status=$$?; sed -n 's/.*figure: //p; /^ *--- FAIL/p' bin/cluster-figures.log; exit $$status

chaos: build ## break a cluster under load and prove that nothing is lost; CHAOS=scenario; report/index.html shows it
	./bin/kintsugi bench chaos --scenario $(CHAOS) --out report

chaos-short: build ## the same in less than a minute: one node, a small load
	./bin/kintsugi bench chaos --scenario kill-one --seed 1 --out report

chaos-proof: ## proves that the benchmark finds bugs: plants six, one at a time, and each must be caught
	$(GO) test -v -count=1 -timeout 15m -tags chaosbugs -run '^TestPlanted' ./bench/chaos

chaos-long: build ## every scenario with every seed of SEEDS; stops at the first that fails, whose report is in report/
	@for seed in $(SEEDS); do \
		for scenario in $$(./bin/kintsugi bench chaos list --names); do \
			./bin/kintsugi bench chaos --scenario $$scenario --seed $$seed --out report/$$scenario-$$seed || exit 1; \
		done; \
	done

check: fmt-check vet staticcheck imports ## gofmt, vet, staticcheck and who may import whom

fmt-check:
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "run gofmt -w on:"; echo "$$unformatted"; exit 1; fi

vet:
	$(GO) vet ./...

staticcheck:
	$(GO) run $(STATICCHECK) ./...

imports:
	$(GO) test -count=1 -run '^TestImportsPointDown$$' ./cmd/kintsugi

bench: ## the benchmarks beside the code
	$(GO) test -run '^$$' -bench . -benchmem ./...

fuzz: ## every fuzz target for FUZZTIME (10s)
	@for package in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz'); do \
			echo "$$package $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$package || exit 1; \
		done; \
	done

clean: ## remove what was built; data stays
	rm -rf bin
