/*
 * databases.h
 *		What there is to do in each database known, who does it, and how it went.
 *
 * To be called once ij_shmem_attach() has returned true.  None of these functions
 * throws then, so that they may be called after a commit.
 */
#ifndef IJ_DATABASES_H
#define IJ_DATABASES_H

#include "postgres.h"

#include "datatype/timestamp.h"

#include "told.h"

/* databases that can be known at once; one more does without a worker until another is dropped */
#define IJ_MAX_DATABASES	1024

/* what is remembered of the text of an error */
#define IJ_ERROR_BYTES	256

typedef enum IjWorkerActivity
{
	IJ_WORKER_NONE,				/* there is no worker */
	IJ_WORKER_CONNECTING,
	IJ_WORKER_WORKING,
	IJ_WORKER_IDLE,
	IJ_WORKER_BACKING_OFF		/* after an error that spoiled a whole turn, or all that is left is put off */
} IjWorkerActivity;

/* what is known of a database, as a copy */
typedef struct IjDatabase
{
	Oid			dboid;			/* InvalidOid: the slot is free */
	bool		probed;			/* the extension was seen there */
	bool		incomplete;		/* ... but not all of it, when a worker last looked */

	/* what there is to do */
	bool		full_wanted;	/* look at every unfinished job */
	bool		full_paused;	/* a look at every unfinished job goes on from the cursor */
	bool		full_running;	/* one was begun and is not done */
	bool		heal_owed;		/* one is to be wanted once heal_after has come */
	TimestampTz heal_after;		/* none because of iot_jobs.heal_interval before then */
	IjToldQueue told;			/* jobs told and not yet taken */
	TimestampTz watermark;		/* every deadline up to here has been listed */
	TimestampTz next_deadline;	/* the earliest one after it; DT_NOEND: none */
	TimestampTz overdue;		/* the earliest one listed and not yet dealt with; DT_NOEND: none */

	/* who does it, and when */
	pid_t		worker_pid;		/* 0: nobody */
	IjWorkerActivity activity;
	uint32		starts;			/* workers that ever took this database */
	TimestampTz started_at;		/* last start: the database that waited longest comes next */
	TimestampTz hold_until;		/* no worker before then */
	bool		yield_wanted;	/* another database needs the worker's place */
	bool		making_way;		/* held because somebody needs the database for himself */

	/* how it went */
	int			failures;		/* in a row */
	TimestampTz last_pass;		/* 0: never */
	TimestampTz last_error_at;	/* 0: never */
	int64		passes;
	int64		expired;
	int64		completed;
	int64		deleted;
} IjDatabase;

/* how long to wait after so many failures in a row: first, 2 first, 4 first ... last */
static inline int64
ij_growing_pause(int times, int64 first, int64 last)
{
	int64		pause = first;

	for (int i = 1; i < times && pause < last; i++)
		pause *= 2;
	return Min(pause, last);
}

/* --- everybody --- */

/* copies of all databases known, in no order; the array has room for IJ_MAX_DATABASES */
extern int	ij_databases_list(IjDatabase *databases);
extern void ij_databases_last_error(Oid dboid, char *message);	/* room for IJ_ERROR_BYTES */

/* is there something to do now for a worker that is not there? */
extern bool ij_database_wants_worker(const IjDatabase *database, TimestampTz now);

/* --- sessions: tell.c and ij_launcher_ensure() --- */

/* is the database of this session known?  a read of memory; false may be out of date */
extern bool ij_databases_knows_mine(void);

/* make this database known; a new one gets a full pass */
extern void ij_databases_know(void);

/* queue a job of this database; nobody is woken yet */
extern void ij_databases_tell_job(const text *tenant_id, const text *job_id, bool due);

/* note the rest, and wake whoever has to know; deadline is DT_NOEND for none */
extern void ij_databases_tell(bool everything, TimestampTz deadline);

/* a prepared transaction of this database may give the worker something to do when it ends */
extern void ij_databases_tell_prepared(Oid dboid, TransactionId xid);

/* --- the launcher --- */

/* has no launcher looked at all databases since the server started? */
extern bool ij_databases_scan_wanted(void);
extern void ij_databases_scan_done(void);

extern void ij_databases_probe(Oid dboid);

/* has a new database found no free slot since the last call? */
extern bool ij_databases_purge_wanted(void);
extern void ij_databases_forget(Oid dboid);	/* it was dropped */
extern void ij_databases_starting_worker(Oid dboid, TimestampTz now);
extern void ij_databases_hold(Oid dboid, TimestampTz until, bool making_way);
extern void ij_databases_worker_lost(Oid dboid, TimestampTz now);	/* it never took its database */
extern void ij_databases_clock_set_back(TimestampTz now);
extern void ij_databases_ask_to_yield(Oid dboid);

/* full pass for every database, but where one is going on or the last one took long; written: since the last call */
extern void ij_databases_heal(bool written, TimestampTz now);

/* transaction ids ever assigned, less those that the workers used up themselves */
extern uint64 ij_databases_foreign_xids(void);

/* full pass for the databases of prepared transactions that ended; true while some are left */
extern bool ij_databases_poll_prepared(void);

/* --- a worker: all of these are about the database it took --- */
extern bool ij_worker_take_database(Oid dboid); /* false: it has a worker, or is unknown */
extern void ij_worker_leave_database(bool failed, TimestampTz hold_until, bool making_way);

/*
 * The extension is not there, or not all of it: forget what was told.  Then, if it is
 * not there and nothing was told since, give the slot back.
 */
extern void ij_worker_drop_told(void);
extern bool ij_worker_give_back(void);

extern void ij_worker_get(IjDatabase *database);
extern void ij_worker_set_activity(IjWorkerActivity activity);
extern void ij_worker_found_extension(bool complete);
extern int	ij_worker_take_told(IjTold *told, int max);
extern void ij_worker_put_back(const IjTold *told); /* NULL: ids too long to be told, or too many */

/* take the wish for a full pass; *cursor is where an interrupted one goes on */
extern bool ij_worker_take_full(bool *has_cursor, IjTold *cursor);
extern void ij_worker_pause_full(const IjTold *cursor); /* NULL: start over */
extern void ij_worker_ended_full(int64 microseconds);	/* what it took */

/*
 * Deadlines up to upto are about to be listed, from what is returned on.  A commit
 * that tells an earlier one from now on is not lost: see ij_worker_listed_due().
 */
extern TimestampTz ij_worker_list_due(TimestampTz upto);

/* they were listed up to reached, and next is the earliest deadline after it */
extern void ij_worker_listed_due(TimestampTz reached, TimestampTz next);
extern void ij_worker_nothing_overdue(void);

extern void ij_worker_count_pass(int64 expired, int64 completed, int64 deleted, int own_xids);
extern void ij_worker_succeeded(void);

/* note an error; true if it should be logged: the caller may, and it is not the same within a minute */
extern bool ij_worker_note_error(const char *message, bool may_log);

/* --- shmem.c: the part of the shared area --- */
extern Size ij_databases_size(void);
extern void ij_databases_init(void *place, int tranche_id, uint64 seed);
extern void ij_databases_attach(void *place);

#endif							/* IJ_DATABASES_H */
