/*
 * launcher.c
 *		The one process that decides which databases have a worker.
 *
 * It is connected to no database and does no work itself.  It sleeps until a
 * commit gives work to a database without a worker, a deadline of such a database
 * comes, or a worker ends.  An idle server sees no transaction from it, and no
 * wake-up but one each iot_jobs.heal_interval that reads a counter.
 *
 * It starts after recovery, so never on a standby, and at promotion on one.  With
 * shared_preload_libraries the postmaster starts it; without, the first session
 * that calls the extension has it started.  Either way the postmaster starts it
 * again when it ends, and a second one finds the first in shared memory and leaves.
 *
 * All it knows lies in shared memory but for the handles of the workers it started.
 * A successor does without them: a worker leaves its database in shared memory
 * and wakes whoever is the launcher then.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/parallel.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/twophase.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "databases.h"
#include "fault.h"
#include "guc.h"
#include "launcher.h"
#include "root.h"
#include "shmem.h"
#include "worker.h"

/* the postmaster starts a launcher that ended again after this long */
#define RESTART_S			1

/* how often to ask again for something that no event announces */
#define RETRY_MS			1000

/* workers that take turns on too few places fail to start every second: how often to say so */
#define NO_PLACE_LOG_MS		600000

/* a database that takes no connections is asked again after this long */
#define CLOSED_RETRY_MS		60000

/* a process that was asked for and has not ended */
typedef struct Started
{
	Oid			dboid;
	uint32		starts;			/* of the database, when it was asked for */
	BackgroundWorkerHandle *handle;
	bool		ended;
} Started;

static List *started = NIL;		/* of Started *, in TopMemoryContext */

static IjDatabase *databases;	/* the copy this turn works with */
static int	ndatabases;

static TimestampTz heal_at;
static uint64 heal_xids;

static void
describe_launcher(BackgroundWorker *worker, const char *started_by)
{
	memset(worker, 0, sizeof(BackgroundWorker));
	snprintf(worker->bgw_name, sizeof(worker->bgw_name), "iot_jobs launcher");
	snprintf(worker->bgw_type, sizeof(worker->bgw_type), "iot_jobs launcher");
	snprintf(worker->bgw_library_name, sizeof(worker->bgw_library_name), "iot_jobs");
	snprintf(worker->bgw_function_name, sizeof(worker->bgw_function_name), "ij_launcher_main");
	snprintf(worker->bgw_extra, sizeof(worker->bgw_extra), "%s", started_by);
	worker->bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker->bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker->bgw_restart_time = RESTART_S;
}

void
ij_launcher_preload(void)
{
	BackgroundWorker worker;

	/* pg_upgrade wants the rows as they are */
	if (IsBinaryUpgrade)
		return;
	describe_launcher(&worker, "preload");
	RegisterBackgroundWorker(&worker);
}

void
ij_launcher_ensure(void)
{
	BackgroundWorker worker;
	BackgroundWorkerHandle *handle;

	if (likely(ij_shmem_all_well()))
		return;

	if (!IsUnderPostmaster || IsBinaryUpgrade || IsParallelWorker() ||
		!OidIsValid(MyDatabaseId) || RecoveryInProgress())
		return;
	if (!ij_shmem_attach())
		return;
	ij_databases_know();
	if (!ij_guc_worker_enabled || !ij_root_may_register_launcher(GetCurrentTimestamp()))
		return;

	describe_launcher(&worker, "session");
	if (RegisterDynamicBackgroundWorker(&worker, &handle))
	{
		(void) ij_root_note_register(true);
		pfree(handle);
	}
	else if (ij_root_note_register(false))
		ereport(LOG,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("could not start the iot_jobs launcher"),
				 errhint("You might need to increase max_worker_processes.")));
}

bool
ij_launcher_database_in_demand(Oid dboid)
{
	LOCKTAG		tag;
	VirtualTransactionId *holders;
	int			nholders;

	/* RowExclusiveLock is what a session takes while it connects */
	SET_LOCKTAG_OBJECT(tag, InvalidOid, DatabaseRelationId, dboid, 0);
	holders = GetLockConflicts(&tag, RowExclusiveLock, &nholders);
	pfree(holders);
	return nholders > 0;
}

static void
leave(int code, Datum arg)
{
	ij_root_launcher_leave();
}

/*
 * Have a worker look into each database once: does it have the extension?
 */
static void
probe_all_databases(void)
{
	Relation	relation;
	TableScanDesc scan;
	HeapTuple	tuple;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	relation = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(relation, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);

		if (form->datallowconn && !form->datistemplate)
			ij_databases_probe(form->oid);
	}
	table_endscan(scan);
	table_close(relation, AccessShareLock);
	CommitTransactionCommand();
}

/*
 * Transactions that were prepared before the server started may have something to
 * tell, and nobody is left who knows.  Their PGPROCs have no process.
 */
static void
remember_prepared_transactions(void)
{
	int			count = 0;
	Oid		   *dboids = palloc(sizeof(Oid) * Max(max_prepared_xacts, 1));
	TransactionId *xids = palloc(sizeof(TransactionId) * Max(max_prepared_xacts, 1));

	LWLockAcquire(ProcArrayLock, LW_SHARED);
	for (int i = 0; i < max_prepared_xacts; i++)
	{
		PGPROC	   *proc = &PreparedXactProcs[i];

		if (proc->pid == 0 && TransactionIdIsValid(proc->xid) && OidIsValid(proc->databaseId))
		{
			dboids[count] = proc->databaseId;
			xids[count] = proc->xid;
			count++;
		}
	}
	LWLockRelease(ProcArrayLock);

	for (int i = 0; i < count; i++)
		ij_databases_tell_prepared(dboids[i], xids[i]);
	pfree(dboids);
	pfree(xids);
}

typedef enum Connectable
{
	DATABASE_OPEN,
	DATABASE_CLOSED,
	DATABASE_GONE
} Connectable;

static Connectable
database_connectable(Oid dboid)
{
	HeapTuple	tuple;
	Connectable result = DATABASE_GONE;
	MemoryContext old_context = CurrentMemoryContext;

	StartTransactionCommand();
	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(dboid));
	if (HeapTupleIsValid(tuple))
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);

		/* a template is there to be copied, which a connection would hold up */
		if (form->datallowconn && !form->datistemplate && form->datconnlimit != DATCONNLIMIT_INVALID_DB)
			result = DATABASE_OPEN;
		else
			result = DATABASE_CLOSED;
		ReleaseSysCache(tuple);
	}
	CommitTransactionCommand();
	MemoryContextSwitchTo(old_context);
	return result;
}

/*
 * Which of the processes asked for have ended?  To be called before the databases
 * are listed, so that whoever has taken its database is seen to have done so.
 */
static void
notice_ended_workers(void)
{
	ListCell   *lc;

	foreach(lc, started)
	{
		Started    *s = lfirst(lc);
		pid_t		pid;

		s->ended = GetBackgroundWorkerPid(s->handle, &pid) == BGWH_STOPPED;
	}
}

static IjDatabase *
find_database(Oid dboid)
{
	for (int i = 0; i < ndatabases; i++)
	{
		if (databases[i].dboid == dboid)
			return &databases[i];
	}
	return NULL;
}

static Started *
find_started(Oid dboid)
{
	ListCell   *lc;

	foreach(lc, started)
	{
		Started    *s = lfirst(lc);

		if (s->dboid == dboid)
			return s;
	}
	return NULL;
}

/*
 * True if that changed what is known of a database.
 */
static bool
forget_ended_workers(TimestampTz now)
{
	bool		changed = false;
	ListCell   *lc;

	foreach(lc, started)
	{
		Started    *s = lfirst(lc);
		IjDatabase *database = find_database(s->dboid);

		if (!s->ended)
			continue;

		/* one that has taken its database said itself how it ended */
		if (database != NULL && database->starts == s->starts)
		{
			ij_databases_worker_lost(s->dboid, now);
			changed = true;
		}
		started = foreach_delete_current(started, lc);
		pfree(s->handle);
		pfree(s);
	}
	return changed;
}

/*
 * Start a worker.  False if there is no place for one in the server.
 */
static bool
start_worker(const IjDatabase *database, TimestampTz now)
{
	static TimestampTz complained_at = 0;
	BackgroundWorker worker;
	BackgroundWorkerHandle *handle;
	MemoryContext old_context;
	Started    *s;

	memset(&worker, 0, sizeof(BackgroundWorker));
	snprintf(worker.bgw_name, sizeof(worker.bgw_name), "iot_jobs worker for database %u",
			 database->dboid);
	snprintf(worker.bgw_type, sizeof(worker.bgw_type), "iot_jobs worker");
	snprintf(worker.bgw_library_name, sizeof(worker.bgw_library_name), "iot_jobs");
	snprintf(worker.bgw_function_name, sizeof(worker.bgw_function_name), "ij_worker_main");
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;	/* we do that */
	worker.bgw_main_arg = ObjectIdGetDatum(database->dboid);
	worker.bgw_notify_pid = MyProcPid;

	ij_databases_starting_worker(database->dboid, now);

	old_context = MemoryContextSwitchTo(TopMemoryContext);
	if (!RegisterDynamicBackgroundWorker(&worker, &handle))
	{
		MemoryContextSwitchTo(old_context);
		/* it had no turn, and keeps its place in the queue */
		ij_databases_starting_worker(database->dboid, database->started_at);
		if (ij_root_note_register(false) &&
			(now < complained_at || now >= TimestampTzPlusMilliseconds(complained_at, NO_PLACE_LOG_MS)))
		{
			complained_at = now;
			ereport(LOG,
					(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
					 errmsg("could not start an iot_jobs worker, will try again"),
					 errhint("You might need to increase max_worker_processes.")));
		}
		return false;
	}
	(void) ij_root_note_register(true);

	s = palloc(sizeof(Started));
	s->dboid = database->dboid;
	s->starts = database->starts;
	s->handle = handle;
	s->ended = false;
	started = lappend(started, s);
	MemoryContextSwitchTo(old_context);
	return true;
}

/*
 * May this database have a worker now?  If not, see to it that the question comes
 * up again.
 */
static bool
database_ready(const IjDatabase *database, TimestampTz now)
{
	switch (database_connectable(database->dboid))
	{
		case DATABASE_GONE:
			ij_databases_forget(database->dboid);
			return false;
		case DATABASE_CLOSED:
			ij_databases_hold(database->dboid, TimestampTzPlusMilliseconds(now, CLOSED_RETRY_MS), false);
			return false;
		case DATABASE_OPEN:
			break;
	}
	if (ij_launcher_database_in_demand(database->dboid))
	{
		ij_databases_hold(database->dboid, TimestampTzPlusMilliseconds(now, RETRY_MS), true);
		return false;
	}
	return true;
}

static void
forget_dropped_databases(void)
{
	for (int i = 0; i < ndatabases; i++)
	{
		if (databases[i].worker_pid == 0 &&
			database_connectable(databases[i].dboid) == DATABASE_GONE)
			ij_databases_forget(databases[i].dboid);
	}
}

/* the database that waited longest comes first */
static int
compare_started_at(const void *a, const void *b)
{
	const IjDatabase *x = *(IjDatabase *const *) a;
	const IjDatabase *y = *(IjDatabase *const *) b;

	return x->started_at < y->started_at ? -1 : x->started_at > y->started_at;
}

static bool
is_resting(const IjDatabase *database)
{
	return database->activity == IJ_WORKER_IDLE || database->activity == IJ_WORKER_BACKING_OFF;
}

/* who gives up its place: the idle first, then who had it longest */
static int
compare_yield(const void *a, const void *b)
{
	const IjDatabase *x = *(IjDatabase *const *) a;
	const IjDatabase *y = *(IjDatabase *const *) b;

	if (is_resting(x) != is_resting(y))
		return is_resting(x) ? -1 : 1;
	return compare_started_at(a, b);
}

/* the databases whose workers have had their turn make room for others */
static void
ask_to_yield(IjDatabase **working, int nworking, int wanted)
{
	qsort(working, nworking, sizeof(IjDatabase *), compare_yield);
	for (int i = 0; i < Min(wanted, nworking); i++)
		ij_databases_ask_to_yield(working[i]->dboid);
}

/* Have all databases looked at if that is due; returns when it is due next. */
static TimestampTz
heal_if_due(TimestampTz now)
{
	uint64		xids;

	if (ij_guc_heal_interval == 0)
		return DT_NOEND;
	if (now >= heal_at + ij_guc_heal_interval * USECS_PER_SEC)
	{
		xids = ij_databases_foreign_xids();
		ij_databases_heal(xids != heal_xids, now);
		heal_xids = xids;
		heal_at = now;
	}
	return heal_at + ij_guc_heal_interval * USECS_PER_SEC;
}

/*
 * Start workers for those that wait, the longest first, as far as there are places;
 * returns how many are left without.  *again: something is to be tried again soon.
 */
static int
start_workers(IjDatabase **waiting, int nwaiting, int places, TimestampTz now, bool *again)
{
	*again = false;
	qsort(waiting, nwaiting, sizeof(IjDatabase *), compare_started_at);
	for (int i = 0; i < nwaiting; i++)
	{
		if (places <= 0)
			return nwaiting - i;
		if (!database_ready(waiting[i], now))
			*again = true;
		else if (start_worker(waiting[i], now))
			places--;
		else
		{
			/* the server may have fewer places than we may have workers: share what we have */
			*again = true;
			return nwaiting - i;
		}
	}
	return 0;
}

/*
 * One look at everything; returns when to look again if nothing happens.
 */
static TimestampTz
launcher_turn(void)
{
	static TimestampTz last_turn = 0;
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz wake_at;
	IjDatabase **waiting = palloc(sizeof(IjDatabase *) * IJ_MAX_DATABASES);
	IjDatabase **working = palloc(sizeof(IjDatabase *) * IJ_MAX_DATABASES);
	int			nwaiting = 0;
	int			nworking = 0;
	int			places;
	bool		again;

	/* what was to last a second must not last until the old time comes again */
	if (now < last_turn)
	{
		ij_databases_clock_set_back(now);
		heal_at = Min(heal_at, now);
	}
	last_turn = now;

	again = ij_databases_poll_prepared();
	wake_at = heal_if_due(now);
	if (again)
		wake_at = Min(wake_at, TimestampTzPlusMilliseconds(now, RETRY_MS));

	notice_ended_workers();
	ndatabases = ij_databases_list(databases);
	if (forget_ended_workers(now))
		ndatabases = ij_databases_list(databases);
	if (ij_databases_purge_wanted())
		forget_dropped_databases();

	places = ij_guc_max_workers - list_length(started);
	for (int i = 0; i < ndatabases; i++)
	{
		IjDatabase *database = &databases[i];
		bool		is_started = find_started(database->dboid) != NULL;

		if (database->worker_pid != 0)
		{
			working[nworking++] = database;
			/* started by a launcher before us */
			if (!is_started)
				places--;
		}
		else if (is_started)
			continue;			/* its end will wake us */
		else if (!ij_database_wants_worker(database, now))
			wake_at = Min(wake_at, Max(database->next_deadline, database->hold_until));
		else if (database->hold_until > now)
			wake_at = Min(wake_at, database->hold_until);
		else
			waiting[nwaiting++] = database;
	}

	if (!ij_guc_worker_enabled)
		return wake_at;
	ask_to_yield(working, nworking, start_workers(waiting, nwaiting, places, now, &again));
	return again ? Min(wake_at, TimestampTzPlusMilliseconds(now, RETRY_MS)) : wake_at;
}

/* sleep until then or until something happens */
static void
launcher_sleep(TimestampTz wake_at)
{
	static uint32 wait_event = 0;
	int			events = WL_LATCH_SET | WL_EXIT_ON_PM_DEATH;
	long		timeout = -1;

	if (wait_event == 0)
		wait_event = ij_wait_event_new("IotJobsLauncherMain");
	if (wake_at != DT_NOEND)
	{
		/* a deadline may be further away than a latch can wait */
		events |= WL_TIMEOUT;
		timeout = Min(TimestampDifferenceMilliseconds(GetCurrentTimestamp(), wake_at), INT_MAX);
	}
	(void) WaitLatch(MyLatch, events, timeout, wait_event);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
}

void
ij_launcher_main(Datum main_arg)
{
	bool		preloaded = strcmp(MyBgworkerEntry->bgw_extra, "preload") == 0;
	MemoryContext turn_context;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);

	/*
	 * Without shared memory there is nothing to do but to hope for it; not for one that a
	 * session asked for: nobody would know of it, and the next session ask for another.
	 */
	while (!ij_shmem_attach())
	{
		if (!preloaded)
			proc_exit(0);
		launcher_sleep(TimestampTzPlusMilliseconds(GetCurrentTimestamp(), CLOSED_RETRY_MS));
	}

	if (!ij_root_launcher_enter(preloaded))
	{
		ereport(DEBUG1,
				(errmsg_internal("another iot_jobs launcher is running")));
		proc_exit(0);
	}
	before_shmem_exit(leave, (Datum) 0);
	pgstat_report_appname("iot_jobs launcher");
	IJ_FAULT(launcher_entered);

	turn_context = AllocSetContextCreate(TopMemoryContext, "iot_jobs launcher", ALLOCSET_DEFAULT_SIZES);
	databases = MemoryContextAlloc(TopMemoryContext, sizeof(IjDatabase) * IJ_MAX_DATABASES);
	heal_at = GetCurrentTimestamp();
	heal_xids = ij_databases_foreign_xids();

	if (ij_databases_scan_wanted())
	{
		probe_all_databases();
		remember_prepared_transactions();
		ij_databases_scan_done();
	}

	for (;;)
	{
		TimestampTz wake_at;

		MemoryContextSwitchTo(turn_context);
		MemoryContextReset(turn_context);
		wake_at = launcher_turn();
		launcher_sleep(wake_at);
	}
}
