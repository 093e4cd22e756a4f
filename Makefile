# iot_jobs: jobs on fleets of devices, inside PostgreSQL
#
#   make && make install           build and install (PG_CONFIG=... picks a server)
#   make installcheck              regress, isolation and TAP tests on a running server
#   make pgtap                     the pgTAP tests on the same server
#   make lint format-check         rules of the source tree
#   ./check                        all of it, on a server of its own

EXTENSION    = iot_jobs
# another folder may be built in, as packagers do: make -f TREE/Makefile VPATH=TREE
tree        := $(or $(VPATH),.)
in_tree      = $(sort $(patsubst $(tree)/%,%,$(wildcard $(tree)/$(1))))
ifdef VPATH
$(shell mkdir -p src sql)
endif
# the version is written once, in the control file
EXTVERSION  := $(shell sed -n "s/^default_version *= *'\(.*\)'.*/\1/p" $(tree)/iot_jobs.control)

MODULE_big   = iot_jobs
PGFILEDESC   = "iot_jobs - jobs on fleets of devices"
OBJS = \
	src/bytes.o \
	src/catalog.o \
	src/counter_sets.o \
	src/counters.o \
	src/counts.o \
	src/databases.o \
	src/direct.o \
	src/direct_claim.o \
	src/direct_insert.o \
	src/direct_rows.o \
	src/errors.o \
	src/executions.o \
	src/fanout.o \
	src/fault.o \
	src/fleet.o \
	src/guard.o \
	src/guc.o \
	src/hints.o \
	src/jobs.o \
	src/jsonb_text.o \
	src/launcher.o \
	src/marks.o \
	src/module.o \
	src/page_token.o \
	src/policy.o \
	src/query.o \
	src/report_batch.o \
	src/root.o \
	src/rows.o \
	src/schedule.o \
	src/shape.o \
	src/shmem.o \
	src/sql_api.o \
	src/state.o \
	src/statements.o \
	src/store.o \
	src/sweep.o \
	src/tell.o \
	src/told.o \
	src/validate.o \
	src/verify.o \
	src/visits.o \
	src/worker.o \
	src/worker_state.o

DATA        := $(call in_tree,sql/iot_jobs--*--*.sql)
DATA_built  := sql/iot_jobs--$(EXTVERSION).sql
DOCS        := $(call in_tree,doc/*.md)

# A new file in test/sql or test/specs is a new test.  Results of regress tests
# are in expected/, those of isolation specs in test/expected/: the isolation
# runner of PostgreSQL 15 looks nowhere else.
REGRESS       := $(basename $(notdir $(call in_tree,test/sql/*.sql)))
ISOLATION     := $(basename $(notdir $(call in_tree,test/specs/*.spec)))
REGRESS_OPTS   = --inputdir=test
ISOLATION_OPTS = --inputdir=test
TAP_TESTS     := $(if $(call in_tree,test/t/*.pl),1)
PROVE_TESTS   ?= test/t/*.pl

EXTRA_CLEAN  = results output_iso tmp_check tmp_check_iso regression.diffs regression.out

PG_CONFIG   ?= pg_config
PGXS        := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# all extensions share the other folder, and doc/ has names that others have, too
docmoduledir = extension/$(EXTENSION)

# PostgreSQL 16 and later look for results beside the input only.
ifneq ($(filter-out 15,$(MAJORVERSION)),)
REGRESS_OPTS += --expecteddir=.
endif

sql/iot_jobs--$(EXTVERSION).sql: sql/iot_jobs.sql iot_jobs.control
	cp $< $@

# Every object depends on every header: the tree is small and builds in seconds.
$(OBJS) $(OBJS:.o=.bc): $(call in_tree,src/*.h)

.PHONY: objects
objects: $(OBJS)

PG_PROVE       ?= pg_prove
PGTAP_DATABASE ?= pgtap_regression
PGTAP_TESTS    ?= $(sort $(wildcard test/pgtap/*.sql))

.PHONY: pgtap format format-check lint dist
pgtap:
	'$(bindir)/dropdb' --if-exists $(PGTAP_DATABASE)
	'$(bindir)/createdb' --template=template0 --encoding=UTF8 $(PGTAP_DATABASE)
	$(PG_PROVE) $(PG_PROVE_FLAGS) --psql-bin '$(bindir)/psql' --dbname $(PGTAP_DATABASE) $(PGTAP_TESTS)

CLANG_FORMAT ?= clang-format
FORMATTED     = $(sort $(wildcard src/*.c src/*.h))

format:
	scripts/format --write $(CLANG_FORMAT) $(FORMATTED)

format-check:
	scripts/format --check $(CLANG_FORMAT) $(FORMATTED)

lint:
	scripts/lint

dist:
	git archive --format=zip --prefix=iot_jobs-$(EXTVERSION).0/ --output=iot_jobs-$(EXTVERSION).0.zip HEAD
