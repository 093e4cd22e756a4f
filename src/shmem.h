/*
 * shmem.h
 *		What the backends, the launcher and the workers share.
 *
 * Everything here is a hint or a statistic: losing it costs a sweep, never a
 * result.  The struct definitions stay in shmem.c; only these functions leave.
 * None of them throws once ij_shmem_attach() has returned true, so that they
 * may be called after a commit.
 */
#ifndef IJ_SHMEM_H
#define IJ_SHMEM_H

#include "postgres.h"

#include "datatype/timestamp.h"

/*
 * A hint is a device id remembered under a 64-bit key.  A longer id than this
 * many bytes is not remembered, which is always allowed.
 */
#define IJ_HINT_BYTES	128

/* databases that can be known at once; one more does without a worker until another is dropped */
#define IJ_MAX_DATABASES	1024

/*
 * Bytes that tenant id and job id of a told job may have together: two UUIDs and
 * room to spare.  A job with longer ids is told as "look at everything".
 */
#define IJ_TOLD_BYTES	212

/* what is remembered of the text of an error */
#define IJ_ERROR_BYTES	256

typedef enum IjHintKind
{
	IJ_HINT_WITNESS,			/* (tenant, job): a device whose execution is known to be open */
	IJ_HINT_SWEEP_MARK,			/* (tenant, job): where the next batch of a sweep starts */
	IJ_HINT_CLAIM_MARK			/* (tenant): where the next tenant-wide claim starts */
} IjHintKind;

/* a job by its ids, flat */
typedef struct IjTold
{
	uint16		tenant_len;
	uint16		job_len;
	char		bytes[IJ_TOLD_BYTES];	/* the tenant's, then the job's */
} IjTold;

typedef enum IjWorkerActivity
{
	IJ_WORKER_NONE,				/* there is no worker */
	IJ_WORKER_CONNECTING,
	IJ_WORKER_WORKING,
	IJ_WORKER_IDLE,
	IJ_WORKER_BACKING_OFF		/* after an error that spoiled a whole turn */
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
	int			told;			/* jobs told and not yet taken */
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

/* --- module.c: when preloading --- */
extern void ij_shmem_request(void);
extern void ij_shmem_startup(void);

/* --- everybody --- */

/* attach to (or create) the shared area; false, once logged, if there is none to be had */
extern bool ij_shmem_attach(void);

/* job_id is NULL for a hint about a tenant; returns a palloc'd text, or NULL if nothing is known */
extern text *ij_hint_get(IjHintKind kind, const text *tenant_id, const text *job_id);
extern void ij_hint_set(IjHintKind kind, const text *tenant_id, const text *job_id, const text *device_id);
extern void ij_hint_forget(IjHintKind kind, const text *tenant_id, const text *job_id);

/* the same without an allocation: the hash of the device remembered; false if nothing is known */
extern bool ij_hint_peek(IjHintKind kind, const text *tenant_id, const text *job_id, uint64 *device_hash);

/* the hash that ij_hint_peek() compares with */
extern uint64 ij_shmem_hash(const text *value);

/* copies of all databases known, in no order; the array has room for IJ_MAX_DATABASES */
extern int	ij_shmem_list_databases(IjDatabase *databases);
extern void ij_shmem_last_error(Oid dboid, char *message);	/* room for IJ_ERROR_BYTES */

/* is there something to do now for a worker that is not there? */
extern bool ij_database_wants_worker(const IjDatabase *database, TimestampTz now);

/* --- sessions: tell.c and ij_launcher_ensure() --- */

/* a launcher lives and this database is known to it: two reads of memory */
extern bool ij_shmem_all_well(void);

/* make this database known; a new one gets a full pass */
extern void ij_shmem_know_database(void);

/* queue a job of this database; nobody is woken yet */
extern void ij_shmem_tell_job(const text *tenant_id, const text *job_id);

/* note the rest, and wake whoever has to know; deadline is DT_NOEND for none */
extern void ij_shmem_tell(bool everything, TimestampTz deadline);

/* a prepared transaction of this database may give the worker something to do when it ends */
extern void ij_shmem_tell_prepared(Oid dboid, TransactionId xid);

/* --- the launcher --- */
extern bool ij_shmem_launcher_running(bool *preloaded);

/* no launcher lives and none was registered lately: note that the caller registers one now */
extern bool ij_shmem_may_register_launcher(TimestampTz now);

/* is this the first failure since the last success?  for messages that must not repeat */
extern bool ij_shmem_note_register(bool success);

extern bool ij_shmem_launcher_enter(bool preloaded);	/* false: another one lives */
extern void ij_shmem_launcher_leave(void);

/* has no launcher looked at all databases since the server started? */
extern bool ij_shmem_scan_wanted(void);
extern void ij_shmem_scan_done(void);

extern void ij_shmem_probe_database(Oid dboid);

/* has a new database found no free slot since the last call? */
extern bool ij_shmem_purge_wanted(void);
extern void ij_shmem_forget_database(Oid dboid);	/* it was dropped */
extern void ij_shmem_starting_worker(Oid dboid, TimestampTz now);
extern void ij_shmem_hold_database(Oid dboid, TimestampTz until, bool making_way);
extern void ij_shmem_worker_lost(Oid dboid, TimestampTz now);	/* it never took its database */
extern void ij_shmem_ask_to_yield(Oid dboid);
extern void ij_shmem_want_full_everywhere(void);

/* transaction ids ever assigned, less those that the workers used up themselves */
extern uint64 ij_shmem_foreign_xids(void);

/* full pass for the databases of prepared transactions that ended; true while some are left */
extern bool ij_shmem_poll_prepared(void);

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

/* flat ids and back; false if they are too long */
extern bool ij_told_make(IjTold *told, const text *tenant_id, const text *job_id);
extern text *ij_told_tenant(const IjTold *told);
extern text *ij_told_job(const IjTold *told);

#endif							/* IJ_SHMEM_H */
