# The two commands of a newcomer are `make run` and `make test`; they need Go and nothing else.
# The tools of a contributor are pinned in .ci/tools/go.mod (buf, the generators, the linter) and .ci/packaging/go.mod
# (helm, the maker of the image) and built by `make tools`.

TOOLS := .ci/tools/bin
GO    ?= go
RACE  ?=
TIME  ?= 1m
BENCH ?=

.PHONY: run build test interop soak bench fuzz lint fmt generate generate-polyglot check-generate accept-contract tools packaging-tools chart image release clean

## run: start the server on loopback with an emulated Stytch behind it; its audit log is bin/audit.jsonl
run: build
	exec bin/recoverycodesd serve --sandbox --log-format console --audit-file bin/audit.jsonl

## build: the server and the command-line client, into bin/
build:
	$(GO) build -o bin/recoverycodesd ./server
	$(GO) build -o bin/recoverycodes ./client/cmd/recoverycodes

## test: every suite that runs on this machine; RACE=-race for the race detector. No result is taken from the cache, which
## does not see that some suites build and run the server
test:
	$(GO) test -count=1 $(RACE) ./...

## interop: the examples of client/examples, each in its own language, against the server. What is missing is installed
interop:
	.ci/install interop
	RECOVERYCODES_CI=1 $(GO) test -count=1 $(RACE) ./test/interop

## soak: for TIME each, a server under load and faults whose use of resources must stay flat, and the model test
soak:
	$(GO) test ./test/soak -timeout 0 -v -soak.time=$(TIME)
	$(GO) test ./test/model -run '^TestModel' -timeout 0 -model.time=$(TIME)

## bench: what the server costs beside other servers, some minutes on a quiet machine; docs/performance.md has the flags
bench:
	$(GO) run ./test/bench -json bin/bench.json $(BENCH)

## fuzz: every fuzz target for TIME each
fuzz:
	.ci/fuzz $(TIME)

## lint: Go, the contract's style, and that it breaks no caller of the committed baseline
lint: $(TOOLS)/.built
	$(GO) mod tidy -diff
	$(TOOLS)/golangci-lint run ./...
	cd .ci/packaging && $(GO) mod tidy -diff && ../tools/bin/golangci-lint run ./...
	$(TOOLS)/buf lint
	$(TOOLS)/buf format --diff --exit-code
	$(TOOLS)/buf breaking --against .ci/contract/baseline.binpb

## fmt: format Go and protobuf
fmt: $(TOOLS)/.built
	$(TOOLS)/golangci-lint fmt
	$(TOOLS)/buf format --write

## generate: gen/ from proto/
generate: $(TOOLS)/.built
	$(TOOLS)/buf generate

## generate-polyglot: gen/ts and gen/python from proto/; it needs npm and Debian 12's protoc, which .ci/install installs
generate-polyglot: $(TOOLS)/.built
	.ci/polyglot/generate

## check-generate: fail when gen/ is not what proto/ yields
check-generate: $(TOOLS)/.built
	.ci/check-generate

## accept-contract: make the contract as it stands the baseline that later changes must not break
accept-contract: $(TOOLS)/.built
	$(TOOLS)/buf build --exclude-source-info -o .ci/contract/baseline.binpb

## release: both commands for all platforms, their bills of materials and sums, into dist/; from a clone of a commit
release:
	rm -rf dist/release
	$(GO) run ./deploy/release -out dist/release

## image: the server as an OCI image for linux/amd64 and linux/arm64, into dist/image, without a container engine
image: $(TOOLS)/.packaging
	rm -rf dist/binaries
	$(GO) run ./deploy/release -out dist/binaries -commands recoverycodesd -platforms linux/amd64,linux/arm64
	$(TOOLS)/image -out dist/image dist/binaries/recoverycodesd-linux-amd64 dist/binaries/recoverycodesd-linux-arm64

## chart: the Helm chart as a package, into dist/
chart: $(TOOLS)/.packaging
	$(TOOLS)/helm package deploy/chart --destination dist

## tools: build the pinned tools (some minutes, once)
tools: $(TOOLS)/.built packaging-tools

## packaging-tools: build those that pack and render: helm, and what makes the image
packaging-tools: $(TOOLS)/.packaging

$(TOOLS)/.built: .ci/tools/go.mod .ci/tools/go.sum
	cd .ci/tools && $(GO) build -o bin/ tool
	touch $@

$(TOOLS)/.packaging: .ci/packaging/go.mod .ci/packaging/go.sum .ci/packaging/image/main.go
	cd .ci/packaging && $(GO) build -o ../tools/bin/ tool
	touch $@

clean:
	rm -rf bin dist $(TOOLS)
