# One door: what CI does, a developer does with the same words.
#
#   make              build bin/meter2mqtt
#   make test         the tests, and a search for their secrets in all that they produce
#   make check        all that CI checks, but for Home Assistant
#   make ha           the tests against a real Home Assistant
#   make ha-long      those that wait for the rows that it makes each five minutes
#   make soak-short   broker, gateway and connection die, telegrams are damaged: two minutes
#   make soak         the same at full length: a quarter of an hour
#   make fuzz         every fuzz target for FUZZTIME each
#   make coverage     which part of the statements the tests run; FLOORS='95 90' fails below
#   make mutation     which changes of the decoders no test notices; PACKAGES=dlms for one
#   make vulnerabilities  known vulnerabilities that the program can reach
#   make nightly      what takes too long for each change, one after the other
#   make bench        our benchmarks
#   make bench-peers  the same telegrams through other people's programs
#   make bench-whole  the program as a whole beside bare paho, Mosquitto between
#   make package      archives, .deb and .rpm in dist
#   make footprint    start-up, memory and CPU of the whole program
#   make package-check  the compose file and the app, against their rules
#   make package-proof  the binaries under qemu, the .deb in a fresh Debian, two builds alike
#   make image        the container image, built by a user without rights
#   make format       mend what format-check complains about

GO        ?= go
FUZZTIME  ?= 10m
FUZZSHORT ?= 5000x
PLATFORMS := linux/amd64 linux/arm64 linux/arm/7 linux/arm/6 darwin/arm64 windows/amd64

# Built from a tarball, without git, these stay empty and the build falls back
# to what the go command knows.
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null)
COMMIT  := $(shell git rev-parse HEAD 2>/dev/null)
DATE    := $(shell git log -1 --format=%cI 2>/dev/null)
LDFLAGS := -s -w \
	$(if $(VERSION),-X main.version=$(VERSION)) \
	$(if $(COMMIT),-X main.commit=$(COMMIT)) \
	$(if $(DATE),-X main.date=$(DATE))
BUILD   := CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)'

LINT_VERSION := v2.15.0
LINT         := .cache/bin/golangci-lint-$(LINT_VERSION)

.PHONY: build
build:
	$(BUILD) -o bin/meter2mqtt .

.PHONY: test
test:
	GO=$(GO) .ci/tests

.PHONY: check
check: format-check lint vet build test fuzz-short cross generate-check

.PHONY: vet
vet:
	$(GO) vet ./...

$(LINT):
	mkdir -p $(@D)
	GOBIN=$(CURDIR)/$(@D) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)
	mv $(@D)/golangci-lint $@

.PHONY: tools
tools: $(LINT)

.PHONY: lint
lint: $(LINT)
	$(LINT) run ./...

.PHONY: format-check
format-check: $(LINT)
	$(LINT) fmt --diff ./...

.PHONY: format
format: $(LINT)
	$(LINT) fmt ./...

.PHONY: fuzz
fuzz:
	.ci/fuzz $(FUZZTIME)

.PHONY: fuzz-short
fuzz-short:
	.ci/fuzz $(FUZZSHORT)

.PHONY: coverage
coverage:
	.ci/coverage $(FLOORS)

GREMLINS_VERSION := v0.6.0
GREMLINS         := .cache/bin/gremlins-$(GREMLINS_VERSION)

$(GREMLINS):
	mkdir -p $(@D)
	GOBIN=$(CURDIR)/$(@D) $(GO) install github.com/go-gremlins/gremlins/cmd/gremlins@$(GREMLINS_VERSION)
	mv $(@D)/gremlins $@

.PHONY: mutation
mutation: $(GREMLINS)
	.ci/mutation $(GREMLINS) $(PACKAGES)

GOVULNCHECK_VERSION := v1.8.0
GOVULNCHECK         := .cache/bin/govulncheck-$(GOVULNCHECK_VERSION)

$(GOVULNCHECK):
	mkdir -p $(@D)
	GOBIN=$(CURDIR)/$(@D) $(GO) install golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK_VERSION)
	mv $(@D)/govulncheck $@

.PHONY: vulnerabilities
vulnerabilities: $(GOVULNCHECK)
	.ci/vulnerabilities $(GOVULNCHECK)

.PHONY: nightly
nightly:
	.ci/nightly

.PHONY: cross $(PLATFORMS)
cross: $(PLATFORMS)
$(PLATFORMS):
	GOOS=$(word 1,$(subst /, ,$@)) GOARCH=$(word 2,$(subst /, ,$@)) GOARM=$(word 3,$(subst /, ,$@)) \
		$(BUILD) -o dist/meter2mqtt-$(subst /,-,$@) .

.PHONY: generate-check
generate-check:
	.ci/generate-check

# Every package whose tests use the harness; one after the other, for each boots
# a Home Assistant of its own.
HARNESS := github.com/meter2mqtt/meter2mqtt/hass/oracle
USES_HA := {{$$p := .ImportPath}}{{if eq $$p "$(HARNESS)"}}{{$$p}}{{end}}\
	{{range .TestImports}}{{if eq . "$(HARNESS)"}}{{$$p}}{{end}}{{end}}\
	{{range .XTestImports}}{{if eq . "$(HARNESS)"}}{{$$p}}{{end}}{{end}}

.PHONY: ha
ha:
	HA_TESTS=1 $(GO) test -v -count=1 -p 1 -timeout 20m $$($(GO) list -f '$(USES_HA)' ./... | xargs -n 1 | sort -u)

# They wait most of the time, so they do it side by side, each with a Home Assistant
# of its own.
HA_LONG := TestHomeAssistantMissesNoHour TestTheMetersOwnLogFillsWhatTheGatewayMissed

.PHONY: ha-long
ha-long:
	$(GO) vet ./hass/oracle
	for test in $(HA_LONG); do \
		HA_TESTS=long $(GO) test -v -count=1 -timeout 35m -run "^$$test\$$" ./hass/oracle & jobs="$$jobs $$!"; \
	done; \
	for job in $$jobs; do wait $$job || failed=1; done; [ -z "$$failed" ]

.PHONY: soak soak-short
soak: SOAK := 1
soak-short: SOAK := short
soak soak-short:
	SOAK=$(SOAK) $(GO) test -v -count=1 -parallel 4 -timeout 40m ./bridge/soak

.PHONY: bench
bench:
	$(GO) test -run '^$$' -bench . -benchmem ./...

.PHONY: bench-peers
bench-peers:
	.ci/bench-peers

.PHONY: footprint
footprint:
	.ci/footprint

.PHONY: bench-whole
bench-whole:
	.ci/bench-whole

# What packages hold besides the program: man pages and completions, made from its
# command line.
.PHONY: pages
pages:
	rm -rf bin/pages
	SOURCE_DATE_EPOCH=$(shell git log -1 --format=%ct) $(GO) test -count=1 -run '^TestManPagesAndCompletionsAreMade$$' ./bridge/commandline -pages $(CURDIR)/bin/pages

RELEASER_VERSION := v2.16.0
RELEASER         := .cache/bin/goreleaser-$(RELEASER_VERSION)
SBOM             := .cache/bin/cyclonedx-gomod

$(RELEASER):
	mkdir -p $(@D)
	GOBIN=$(CURDIR)/$(@D) $(GO) install github.com/goreleaser/goreleaser/v2@$(RELEASER_VERSION)
	mv $(@D)/goreleaser $@

# Its own hash stands in what it writes.
$(SBOM): packaging/sbom/go.mod
	cd packaging/sbom && CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -o $(CURDIR)/$@ github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod

.PHONY: tools-package
tools-package: $(RELEASER) $(SBOM)

# GoReleaser forgets the commit where git knows of no remote, so it is told one.
.PHONY: package
package: export GIT_CONFIG_COUNT = 1
package: export GIT_CONFIG_KEY_0 = remote.origin.url
package: export GIT_CONFIG_VALUE_0 = https://github.com/meter2mqtt/meter2mqtt
package: tools-package
	PATH=$(CURDIR)/$(dir $(SBOM)):$$PATH $(RELEASER) release --snapshot --clean

# What the packages are made of, held against the rules of those who take them: the
# compose specification, Home Assistant's store, AppArmor.
.PHONY: package-check
package-check:
	cd packaging && $(GO) vet ./... && $(GO) test ./...
	said=$$(python3 ../shared/ha/addon_check.py . addon) || failed=1; echo "$$said"; \
		case "$$said" in *": 8 of 8") ;; *) failed=1 ;; esac; [ -z "$$failed" ]
	apparmor_parser --skip-kernel-load --skip-cache --skip-read-cache addon/apparmor.txt

# The binaries for other processors decode the corpus, the .deb goes into a fresh
# Debian and out of it, and two builds give the same bytes. Needs root and half an
# hour.
.PHONY: package-proof
package-proof: package
	$(MAKE) cross # after package, which empties dist
	.ci/package-proof
	.ci/debian-proof
	.ci/reproducible

.PHONY: image
image:
	.ci/image

.PHONY: clean
clean:
	rm -rf bin dist
