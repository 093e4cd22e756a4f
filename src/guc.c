/*
 * guc.c
 *		The settings iot_jobs.*: all of them, and nothing else.
 *
 * What concerns the worker is PGC_SIGHUP: the worker reads it, and a reload is
 * enough.  The limits on input are for superusers and whom they let, since they protect
 * the database from its users.
 */
#include "postgres.h"

#include "utils/guc.h"

#include "fault.h"
#include "guc.h"

bool		ij_guc_worker_enabled = true;
int			ij_guc_max_workers = 4;
int			ij_guc_worker_idle_timeout = 60;
int			ij_guc_sweep_batch_rows = 1000;
int			ij_guc_heal_interval = 300;
int			ij_guc_max_document_bytes = 32 * 1024;
int			ij_guc_max_status_details_bytes = 32 * 1024;

/*
 * Only the install script reads this one, through current_setting(): so that it can
 * be set for one CREATE EXTENSION.
 */
static int	create_tables = 0;

static const struct config_enum_entry create_tables_options[] = {
	{"auto", 0, false},
	{"on", 1, false},
	{"off", 2, false},
	{NULL, 0, false}};

/* a document is one value of one row; the largest that is still sane to hand to a device */
#define MAX_DOCUMENT_BYTES		(64 * 1024 * 1024)
#define MIN_DOCUMENT_BYTES		256

/* as many as there are databases that can be known; see databases.h */
#define MAX_WORKERS				1024

#define SECONDS_PER_DAY			(24 * 60 * 60)

/* more rows in a transaction hold locks and a snapshot for seconds */
#define MAX_BATCH_ROWS			100000

void
ij_guc_define(void)
{
	DefineCustomBoolVariable("iot_jobs.worker_enabled",
							 "Lets background workers expire, complete and delete jobs.",
							 "When off, running workers leave after the transaction they are in; run_job_sweep() can be called instead.",
							 &ij_guc_worker_enabled,
							 true,
							 PGC_SIGHUP,
							 0,
							 NULL, NULL, NULL);

	DefineCustomIntVariable("iot_jobs.max_workers",
							"Sets how many databases may have a worker at the same time.",
							"Each takes one of max_worker_processes; databases beyond that take turns.",
							&ij_guc_max_workers,
							4,
							1, MAX_WORKERS,
							PGC_SIGHUP,
							0,
							NULL, NULL, NULL);

	DefineCustomIntVariable("iot_jobs.worker_idle_timeout",
							"Sets how long a worker stays connected with nothing to do.",
							"It is started again when there is something to do.",
							&ij_guc_worker_idle_timeout,
							60,
							0, SECONDS_PER_DAY,
							PGC_SIGHUP,
							GUC_UNIT_S,
							NULL, NULL, NULL);

	DefineCustomIntVariable("iot_jobs.sweep_batch_rows",
							"Sets how many rows the worker changes in one transaction.",
							NULL,
							&ij_guc_sweep_batch_rows,
							1000,
							1, MAX_BATCH_ROWS,
							PGC_SIGHUP,
							0,
							NULL, NULL, NULL);

	DefineCustomIntVariable("iot_jobs.heal_interval",
							"Sets how often the worker looks at every unfinished job.",
							"It does so only if anything was written since. Zero turns it off.",
							&ij_guc_heal_interval,
							300,
							0, SECONDS_PER_DAY,
							PGC_SIGHUP,
							GUC_UNIT_S,
							NULL, NULL, NULL);

	DefineCustomIntVariable("iot_jobs.max_document_bytes",
							"Sets the longest text form of the document of a job.",
							NULL,
							&ij_guc_max_document_bytes,
							32 * 1024,
							MIN_DOCUMENT_BYTES, MAX_DOCUMENT_BYTES,
							PGC_SUSET,
							GUC_UNIT_BYTE,
							NULL, NULL, NULL);

	DefineCustomIntVariable("iot_jobs.max_status_details_bytes",
							"Sets the longest text form of the details a device reports.",
							NULL,
							&ij_guc_max_status_details_bytes,
							32 * 1024,
							MIN_DOCUMENT_BYTES, MAX_DOCUMENT_BYTES,
							PGC_SUSET,
							GUC_UNIT_BYTE,
							NULL, NULL, NULL);

	DefineCustomEnumVariable("iot_jobs.create_tables",
							 "Tells CREATE EXTENSION iot_jobs whether to create the tables.",
							 "With auto it creates what is missing, unless a dump that brings them is being restored.",
							 &create_tables,
							 0,
							 create_tables_options,
							 PGC_USERSET,
							 0,
							 NULL, NULL, NULL);

	IJ_FAULT_DEFINE();

	/* last: from here on a misspelt iot_jobs.* is refused */
	MarkGUCPrefixReserved("iot_jobs");
}
