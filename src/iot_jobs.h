/*
 * iot_jobs.h
 *		The nouns that every file of the extension shares.
 *
 * A row that travels between the store (which reads and writes it) and a use
 * case (which decides about it) is one of the structs below, whatever way it
 * was read.  Pointers in them live in the memory context that was current when
 * the store was called.
 */
#ifndef IOT_JOBS_H
#define IOT_JOBS_H

#include "postgres.h"

#include "common/hashfn.h"
#include "datatype/timestamp.h"
#include "fmgr.h"
#include "utils/jsonb.h"
#include "utils/varlena.h"

#include "state.h"

/* of the library; that of the SQL objects is in iot_jobs.control */
#define IJ_VERSION	"1.0"

/* the same bytes; the ids of this service know no other equality */
static inline bool
ij_same_text(const text *a, const text *b)
{
	return VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
		memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
}

/* in the current memory context; of NULL, NULL */
static inline text *
ij_copy_text(const text *value)
{
	return value ? DatumGetTextPCopy(PointerGetDatum(value)) : NULL;
}

/* as SQL would order them */
static inline int
ij_compare_text(const text *a, const text *b, Oid collation)
{
	return varstr_cmp(VARDATA_ANY(a), VARSIZE_ANY_EXHDR(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(b), collation);
}

static inline uint64
ij_hash_text(const text *value, uint64 seed)
{
	return hash_bytes_extended((const unsigned char *) VARDATA_ANY(value),
							   VARSIZE_ANY_EXHDR(value), seed);
}

static inline uint64
ij_hash_ids(const text *tenant_id, const text *job_id, uint64 seed)
{
	return ij_hash_text(job_id, ij_hash_text(tenant_id, seed));
}

/* longest id a caller may give, in characters; AWS allows 64 for a job and 128 for a thing */
#define IJ_MAX_ID_CHARS				255

/* longest document type, in characters; what the host's own API allows */
#define IJ_MAX_DOCUMENT_TYPE_CHARS	100

/* an expiry further away than this is a mistake, not a plan */
#define IJ_MAX_EXPIRY_YEARS			10

/* rows a page of a list may have; the limit of every AWS IoT Jobs list */
#define IJ_MAX_PAGE_SIZE			250

/* a row of jobs */
typedef struct IjJob
{
	text	   *job_id;
	text	   *tenant_id;
	text	   *document_type;
	Jsonb	   *document_params;
	text	   *target_device_id;	/* NULL unless the target is a device */
	text	   *target_group_id;	/* NULL unless the target is a group */
	bool		target_all;
	IjJobStatus status;
	bool		expires;
	TimestampTz expires_at;		/* valid if expires */
	text	   *created_by;		/* may be NULL */
	TimestampTz created_at;
	TimestampTz updated_at;
} IjJob;

/* how many executions a job has, by status */
typedef struct IjCounts
{
	int64		total;
	int64		by_status[IJ_EXEC_STATUSES];
} IjCounts;

/* a row of job_executions */
typedef struct IjExecution
{
	text	   *job_id;
	text	   *tenant_id;
	text	   *device_id;
	IjExecStatus status;
	Jsonb	   *status_details; /* may be NULL */
	int64		execution_number;	/* the optimistic lock; AWS: versionNumber */
	TimestampTz queued_at;
	bool		started;
	TimestampTz started_at;		/* valid if started */
	TimestampTz last_updated_at;
} IjExecution;

/* an execution with the document of its job, as a device gets it */
typedef struct IjExecutionDocument
{
	IjExecution execution;
	text	   *document_type;
	Jsonb	   *document_params;
	bool		expires;
	TimestampTz expires_at;		/* valid if expires */
} IjExecutionDocument;

/* a set of execution statuses */
#define IJ_STATUS_BIT(status)	(1 << (status))
#define IJ_OPEN_STATUSES \
	(IJ_STATUS_BIT(IJ_EXEC_QUEUED) | IJ_STATUS_BIT(IJ_EXEC_IN_PROGRESS))

#define IJ_ALL_STATUSES		((1 << IJ_EXEC_STATUSES) - 1)

typedef enum IjLock
{
	IJ_LOCK_WAIT,				/* FOR NO KEY UPDATE */
	IJ_LOCK_SKIP				/* FOR NO KEY UPDATE SKIP LOCKED */
} IjLock;

/* one step of one execution */
typedef struct IjExecutionChange
{
	const text *tenant_id;
	const text *job_id;
	const text *device_id;		/* NULL: whatever it is */
	int			from;			/* set of statuses it may come from */
	IjExecStatus to;
	bool		starts;			/* started_at is now, whatever it was */
	Jsonb	   *status_details; /* NULL: keep */
	bool		expects;		/* only if execution_number is this */
	int64		expected_number;
} IjExecutionChange;

#endif							/* IOT_JOBS_H */
