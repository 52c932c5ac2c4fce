# A thin face over Meson and tools/. `make help` lists what there is.
SHELL = /bin/sh
BUILD ?= build
override BUILD := $(abspath $(BUILD))
SEEDS ?= 10000
SECONDS_EACH ?= 20
ARGS ?=

.PHONY: build run test demo bench bench-outage fuzz sim install uninstall clean help

build:
	@tools/install-deps build
	@test -e $(BUILD)/build.ninja || meson setup $(BUILD) .
	@ninja -C $(BUILD) programs
	@echo 'built: $(BUILD)/stubbornd $(BUILD)/stubborn (libstubborn.so, the NSS module and the preload library come with the issue that brings the edge to other programs)'

run: build
	@echo 'Ask it:      dig @127.0.0.1 -p 5300 debian.org$(if $(ARGS),        (or where $(ARGS) says))'
	@echo 'Or so:       $(BUILD)/stubborn resolve https://debian.org/ $(ARGS)'
	@echo 'How is it?   curl http://127.0.0.1:8053/health        (Ctrl-C ends it)'
	@exec $(BUILD)/stubbornd $(ARGS)

test:
	@tools/install-deps test
	@tools/run-tests --build $(BUILD) $(ARGS)

demo: build
	@STUBBORN_BUILD=$(BUILD) tools/demo $(ARGS)

bench: build
	@tools/install-deps bench
	@ninja -C $(BUILD)
	@SB_BUILD=$(BUILD) bench/run $(ARGS)

bench-outage: build
	@tools/install-deps outage
	@ninja -C $(BUILD) bench/outage/outage-load
	@SB_BUILD=$(BUILD) bench/outage/run $(ARGS)
	@bench/outage/table --markdown bench/outage/RESULTS.md --svg bench/outage/outage.svg --readme README.md
	@bench/outage/table --check stubborn

fuzz:
	@tools/install-deps test
	@tools/fuzz $(SECONDS_EACH) $(ARGS)

sim:
	@tools/install-deps build
	@test -e $(BUILD)/build.ninja || meson setup $(BUILD) .
	@ninja -C $(BUILD) tests/sim/stubborn-sim
	@$(BUILD)/tests/sim/stubborn-sim --seeds $(SEEDS) $(ARGS)

install: build
	@meson install --no-rebuild -C $(BUILD) $(if $(DESTDIR),--destdir $(DESTDIR))

uninstall:
	@ninja -C $(BUILD) uninstall

clean:
	@rm -rf $(BUILD)

help:
	@echo 'make build                  programs into $(BUILD)/'
	@echo 'make run [ARGS=…]           the daemon in the foreground: DNS 127.0.0.1:5300, HTTP 127.0.0.1:8053'
	@echo 'make test [ARGS=--list]     every test; ARGS="--only unit,sim" for some'
	@echo 'make demo                   an outage in half a minute, no network needed'
	@echo 'make bench                  answers per second and CPU per answer, beside others'
	@echo 'make bench-outage           outages beside other resolvers, two hours; ARGS="--resolver stubborn"'
	@echo 'make fuzz [SECONDS_EACH=20] every parser for a while'
	@echo 'make sim [SEEDS=10000]      random outages in virtual time'
	@echo 'make install [DESTDIR=…]    into the prefix of Meson (/usr/local)'
	@echo 'make uninstall              removes what the last install of this build put there'
	@echo 'make clean                  removes $(BUILD)/'
