# Everything here needs Go alone, unless a line says otherwise.

.DEFAULT_GOAL := help
GO ?= go

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build the program into bin/
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/plinth ./cmd/plinth

.PHONY: release
release: ## Build archives and SHA256SUMS of VERSION (v0.2.0) into dist/, the same on every machine
	$(GO) run ./tools/release -version $(VERSION)

.PHONY: serve
serve: ## Serve the built-in configuration on 127.0.0.1:7421
	$(GO) run ./cmd/plinth serve

# Packages are tested at once, one more than there are processors: those that start
# processes wait for them, half of the time. Those that take longest begin first: the last
# one has no other beside it.
AT_ONCE = $$(( $$(getconf _NPROCESSORS_ONLN) + 1 ))
LONGEST = ./cmd/plinth ./plugins/etcd ./plugins/ledger ./plugins/postgres ./internal/carrier/wasmhost ./internal/carrier/isolate . ./internal/carrier/procs ./plugins/pebble ./storage/storagetest

.PHONY: test
test: ## Run every test of every module
	$(GO) test -timeout 30m -p $(AT_ONCE) $(LONGEST) ./...
	cd examples/thirdparty-go && $(GO) test ./...
	@command -v python3 >/dev/null || echo "python3 is not installed: the example in Python was not tested" >&2

.PHONY: race
race: ## Run the tests under the race detector; with -short, which leaves out what runs in parts as well
	$(GO) test -timeout 30m -p $(AT_ONCE) -race -short $(LONGEST) ./...

.PHONY: lint
lint: ## gofmt, vet and staticcheck, for this system, for guests and for other systems
	@test -z "$$(gofmt -l . | tee /dev/stderr)" || { echo "run gofmt -w on the files above" >&2; exit 1; }
	$(GO) vet ./...
	GOOS=wasip1 GOARCH=wasm $(GO) vet ./storage ./abi ./sdk/... ./plugins/memory ./plugins/memory/wasm
	GOOS=linux GOARCH=arm64 $(GO) vet ./...
	GOOS=darwin GOARCH=arm64 $(GO) vet ./...
	GOOS=windows GOARCH=amd64 $(GO) build ./...
	$(GO) tool -modfile=tools/staticcheck/go.mod staticcheck ./...

.PHONY: generate
generate: ## Rebuild the committed modules, generated code and pages (C guests need clang and lld)
	$(GO) run ./tools/docgen
	tools/generate-proto.sh
	tools/build-guests.sh
	tools/build-c-guests.sh
	$(GO) tool -modfile=tools/d2/go.mod d2 --theme 0 --pad 20 docs/architecture.d2 docs/architecture.svg
	$(GO) tool -modfile=tools/d2/go.mod d2 --theme 0 --pad 20 docs/pipeline.d2 docs/pipeline.svg

.PHONY: check-generated
check-generated: ## Fail if generated code and pages have drifted from their source (modules: make test)
	$(GO) run ./tools/docgen --check
	tools/generate-proto.sh --check

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME (30s)
	tools/fuzz.sh $(or $(FUZZTIME),30s)

.PHONY: soak
soak: ## Run for SOAK (3m) each what make test runs for seconds: stores that are full and asked for everything; RELOADS (1000) reloads under load
	PLINTH_SOAK=$(or $(SOAK),3m) $(GO) test -count=1 -timeout 1h -run TestFullToTheBrim -v ./internal/carrier/wasmhost
	PLINTH_RELOADS=$(or $(RELOADS),1000) $(GO) test -count=1 -timeout 1h -run TestReloadsUnderLoad -v ./cmd/plinth

.PHONY: kit
kit: ## Run the whole conformance kit over every way to run each backend: make test leaves the longest checks of some out
	PLINTH_KIT=whole $(GO) test -count=1 -timeout 1h -run Conformance ./...

.PHONY: crash
crash: ## Crash durable stores CRASH (200) times each: processes that are killed, disks that lose what was not synced
	PLINTH_CRASH=$(or $(CRASH),200) $(GO) test -count=1 -timeout 1h -run 'TestKilled|TestPowerLost' -v ./plugins/pebble ./plugins/etcd ./plugins/postgres

.PHONY: bench
bench: ## Print the benchmark table: ours, the floor, the peers
	cd bench && $(GO) run .
