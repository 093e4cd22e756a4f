/*
 * shape.h
 *		What the two tables look like, and whether SQL would do nothing else to them
 *		than direct access does.
 */
#ifndef IJ_SHAPE_H
#define IJ_SHAPE_H

#include "postgres.h"

#include "access/attnum.h"
#include "utils/rel.h"

#include "counters.h"
#include "policy.h"

/* columns of job_executions, in the order of rows.c */
enum
{
	IJ_E_JOB_ID,
	IJ_E_TENANT_ID,
	IJ_E_DEVICE_ID,
	IJ_E_STATUS,
	IJ_E_STATUS_DETAILS,
	IJ_E_EXECUTION_NUMBER,
	IJ_E_QUEUED_AT,
	IJ_E_STARTED_AT,
	IJ_E_LAST_UPDATED_AT,
	IJ_E_COLUMNS
};

/* columns of jobs, in the order of rows.c */
enum
{
	IJ_J_JOB_ID,
	IJ_J_TENANT_ID,
	IJ_J_DOCUMENT_TYPE,
	IJ_J_DOCUMENT_PARAMS,
	IJ_J_TARGET_DEVICE_ID,
	IJ_J_TARGET_GROUP_ID,
	IJ_J_TARGET_ALL,
	IJ_J_STATUS,
	IJ_J_EXPIRES_AT,
	IJ_J_CREATED_BY,
	IJ_J_CREATED_AT,
	IJ_J_UPDATED_AT,
	IJ_J_COLUMNS
};

/* indexes that a table may have; the migration makes three */
#define IJ_SHAPE_INDEXES	16

/* an index into which new versions of rows go */
typedef struct IjShapeIndex
{
	Oid			index;
	bool		only_open;		/* only if the execution is open, or the job IN_PROGRESS */
	bool		same_entry;		/* a change leaves its columns as they are */
} IjShapeIndex;

/* what is known of one table */
typedef struct IjShape
{
	bool		valid;
	Oid			relation;
	bool		usable;			/* an ordinary table of the migration's shape */
	IjPolicies	policies;
	AttrNumber	columns[Max((int) IJ_E_COLUMNS, (int) IJ_J_COLUMNS)];
	Oid			primary_key;
	Oid			by_device;		/* an index whose first keys are tenant and device */
	bool		altered;		/* a BEFORE trigger other than the guard may change rows */
	bool		altered_later;	/* a new one, after the guard has seen it */
	TransactionId guarded;		/* since this transaction; 0: for a long time */
	IjCountedTable counted;		/* life is 0 if no guard notes changes */
	bool		plain_update;	/* an update, or a job's completion, is the new version and these index entries */
	bool		plain_delete;	/* a deletion is nothing else, either */
	int			nindexes;
	IjShapeIndex indexes[IJ_SHAPE_INDEXES];
	bool		device_order;	/* whose third key is queued_at, and that holds finished ones, too */
	TransactionId young;		/* these indexes hold nothing for snapshots older than this */
} IjShape;

typedef enum IjDirectUse
{
	IJ_DIRECT_READ,				/* SELECT */
	IJ_DIRECT_CLAIM,			/* SELECT and UPDATE, and SELECT on jobs */
	IJ_DIRECT_LOCK,				/* SELECT FOR NO KEY UPDATE; of jobs */
	IJ_DIRECT_UPDATE,			/* SELECT and UPDATE; of jobs, to complete one that is locked */
	IJ_DIRECT_DELETE,			/* SELECT, UPDATE and DELETE */
	IJ_DIRECT_INSERT			/* INSERT; nothing else may be done then */
} IjDirectUse;

/* valid as long as the table is open and locked */
extern const IjShape *ij_shape_of_executions(Relation rel);
extern const IjShape *ij_shape_of_jobs(Relation rel);

/*
 * Is direct access to the executions of this tenant the same as SQL, for the current
 * user?  Or to its jobs?
 */
extern bool ij_shape_same_as_sql(Relation rel, const IjShape *shape, IjDirectUse use, const text *tenant_id);

/* this transaction adds an execution whose job the foreign key is to look for: no more writing past SQL */
extern void ij_shape_leave_to_key(void);

/* as what its executions are counted; NULL: they are not */
extern const IjCountedTable *ij_shape_counted(Relation rel, const IjShape *shape);

#endif							/* IJ_SHAPE_H */
