/*
 * statements.c
 *		The SQL text for the tables of iot_jobs: all of it, and nothing else.
 *
 * In the text, {jobs}, {executions} and {fleet} stand for the tables in the schema
 * of the extension, {registry} for the relation that lists devices, and any other
 * {op} for OPERATOR(pg_catalog.op): a function can be called under any
 * search_path, so nothing is left to it.  For the same reason there is no IN, no
 * USING and no IS DISTINCT FROM, which look up an operator by its bare name.
 *
 * Lock order: a job before its executions, executions by device.  A statement
 * that may lock several rows locks them in that order.
 */
#include "postgres.h"

#include "statements.h"

#include "catalog/pg_type.h"

/* the text is laid out for people */
/* clang-format off */

/* in the order of rows.c */
#define JOB(j) \
	j ".job_id, " j ".tenant_id, " j ".document_type, " j ".document_params, " \
	j ".target_device_id, " j ".target_group_id, " j ".target_all, " j ".status, " \
	j ".expires_at, " j ".created_by, " j ".created_at, " j ".updated_at"

#define EXECUTION(e) \
	e ".job_id, " e ".tenant_id, " e ".device_id, " e ".status, " e ".status_details, " \
	e ".execution_number, " e ".queued_at, " e ".started_at, " e ".last_updated_at"

#define DOCUMENT(j)		j ".document_type, " j ".document_params, " j ".expires_at"

#define COUNTS(e) \
	"pg_catalog.count(*), " \
	"pg_catalog.count(*) FILTER (WHERE " e ".status {=} 'QUEUED'), " \
	"pg_catalog.count(*) FILTER (WHERE " e ".status {=} 'IN_PROGRESS'), " \
	"pg_catalog.count(*) FILTER (WHERE " e ".status {=} 'SUCCEEDED'), " \
	"pg_catalog.count(*) FILTER (WHERE " e ".status {=} 'FAILED'), " \
	"pg_catalog.count(*) FILTER (WHERE " e ".status {=} 'TIMED_OUT'), " \
	"pg_catalog.count(*) FILTER (WHERE " e ".status {=} 'REJECTED')"

/* an execution's own job */
#define OF_JOB(e, j) \
	j ".tenant_id {=} " e ".tenant_id AND " j ".job_id {=} " e ".job_id"

/*
 * One row by its whole key, found through the primary key.  "= AND LIMIT 1" would
 * leave the planner free to take a shorter index and, when its statistics are older
 * than the rows, to read all executions of a job, or all jobs of a tenant, for each
 * row; only the primary key gives the order of a range.
 */
#define THIS_JOB(j) \
	j ".tenant_id {=} $1 AND " j ".job_id {>=} $2 AND " j ".job_id {<=} $2 "
#define THIS_JOB_ORDER(j) \
	"ORDER BY " j ".tenant_id, " j ".job_id LIMIT 1 "
#define THIS_EXECUTION(e) \
	e ".tenant_id {=} $1 AND " e ".job_id {=} $2 AND " e ".device_id {>=} $3 AND " e ".device_id {<=} $3 "
#define THIS_EXECUTION_ORDER(e) \
	"ORDER BY " e ".device_id LIMIT 1 "

/* a device may start executions of this job */
#define CLAIMABLE(j) \
	j ".status {=} 'IN_PROGRESS' AND " \
	"(" j ".expires_at IS NULL OR " j ".expires_at {>} pg_catalog.now())"

/* time never goes back within a row, whatever transaction began first */
#define LATER_THAN(column)	"GREATEST(" column ", pg_catalog.now())"

#define START(e) \
	"status = 'IN_PROGRESS', execution_number = " e ".execution_number {+} 1, " \
	"started_at = " LATER_THAN(e ".last_updated_at") ", " \
	"last_updated_at = " LATER_THAN(e ".last_updated_at")

/* a batch of one job's executions, locked in device order */
#define LOCK_BATCH(lock) \
	"SELECT e.device_id FROM {executions} e " \
	"WHERE e.tenant_id {=} $1 AND e.job_id {=} $2 AND e.device_id {>=} $3 AND e.status {=} ANY ($4) " \
	"ORDER BY e.device_id LIMIT $5 " lock

#define IN_ORDER	true		/* the plan must walk keys in order, see below */

const IjStatementText ij_statements[IJ_STATEMENTS] = {
	[IJ_SQL_GET_JOB] = {
		"SELECT " JOB("j") " FROM {jobs} j WHERE " THIS_JOB("j") THIS_JOB_ORDER("j"),
		IN_ORDER, 2, {TEXTOID, TEXTOID}
	},
	[IJ_SQL_LOCK_JOB] = {
		"SELECT " JOB("j") " FROM {jobs} j WHERE " THIS_JOB("j") THIS_JOB_ORDER("j") "FOR NO KEY UPDATE",
		IN_ORDER, 2, {TEXTOID, TEXTOID}
	},
	[IJ_SQL_LOCK_JOB_SKIP] = {
		"SELECT " JOB("j") " FROM {jobs} j WHERE " THIS_JOB("j") THIS_JOB_ORDER("j")
		"FOR NO KEY UPDATE SKIP LOCKED",
		IN_ORDER, 2, {TEXTOID, TEXTOID}
	},
	[IJ_SQL_INSERT_JOB] = {
		"INSERT INTO {jobs} AS j (tenant_id, job_id, document_type, document_params, "
		"target_device_id, target_group_id, target_all, expires_at, created_by) "
		"VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) "
		"ON CONFLICT (tenant_id, job_id) DO NOTHING RETURNING " JOB("j"),
		false, 9, {TEXTOID, TEXTOID, TEXTOID, JSONBOID, TEXTOID, TEXTOID, BOOLOID, TIMESTAMPTZOID, TEXTOID}
	},
	[IJ_SQL_SET_JOB_STATUS] = {
		"UPDATE {jobs} j SET status = $3, updated_at = " LATER_THAN("j.updated_at") " "
		"WHERE j.ctid {=} (SELECT x.ctid FROM {jobs} x WHERE " THIS_JOB("x") THIS_JOB_ORDER("x") ") RETURNING " JOB("j"),
		IN_ORDER, 3, {TEXTOID, TEXTOID, TEXTOID}
	},
	[IJ_SQL_SET_JOB_EXPIRY] = {
		"UPDATE {jobs} j SET expires_at = $3, updated_at = " LATER_THAN("j.updated_at") " "
		"WHERE j.ctid {=} (SELECT x.ctid FROM {jobs} x WHERE " THIS_JOB("x") THIS_JOB_ORDER("x") ") RETURNING " JOB("j"),
		IN_ORDER, 3, {TEXTOID, TEXTOID, TIMESTAMPTZOID}
	},
	[IJ_SQL_COUNT_EXECUTIONS] = {
		"SELECT " COUNTS("e") " FROM {executions} e WHERE e.tenant_id {=} $1 AND e.job_id {=} $2",
		false, 2, {TEXTOID, TEXTOID}
	},
	[IJ_SQL_LIST_JOBS] = {
		"SELECT " JOB("j") ", c.* FROM ("
		"SELECT j.* FROM {jobs} j WHERE j.tenant_id {=} $1 "
		"AND ($2 IS NULL OR j.status {=} $2) "
		"AND ($3 IS NULL OR j.document_type {=} $3) "
		"AND ($4 IS NULL OR j.target_device_id {=} $4) "
		"AND ($5 IS NULL OR j.target_group_id {=} $5) "
		"AND ($6 IS NULL OR ROW(j.created_at, j.job_id) {<} ROW($6, $7)) "
		"ORDER BY j.created_at DESC, j.job_id DESC LIMIT $8) j "
		"CROSS JOIN LATERAL (SELECT " COUNTS("e") " FROM {executions} e "
		"WHERE e.tenant_id {=} $1 AND e.job_id {=} j.job_id) c "
		"ORDER BY j.created_at DESC, j.job_id DESC",
		false, 8, {TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, TEXTOID, INT8OID}
	},
	[IJ_SQL_MARK_FOR_DELETION] = {
		"WITH c AS MATERIALIZED (SELECT j.tenant_id, j.job_id FROM {jobs} j "
		"WHERE ($1 IS NULL OR j.tenant_id {=} $1) "
		"AND (j.status {=} 'COMPLETED' OR j.status {=} 'CANCELED') AND j.updated_at {<} $2 "
		"ORDER BY j.tenant_id, j.job_id FOR NO KEY UPDATE SKIP LOCKED) "
		"UPDATE {jobs} j SET status = 'DELETION_IN_PROGRESS', updated_at = " LATER_THAN("j.updated_at") " "
		"FROM c WHERE j.tenant_id {=} c.tenant_id AND j.job_id {=} c.job_id "
		"RETURNING j.tenant_id, j.job_id",
		false, 2, {TEXTOID, TIMESTAMPTZOID}
	},
	[IJ_SQL_DELETE_JOB] = {
		"WITH c AS MATERIALIZED (SELECT j.job_id FROM {jobs} j "
		"WHERE j.tenant_id {=} $1 AND j.job_id {=} $2 AND j.status {=} 'DELETION_IN_PROGRESS' "
		"AND NOT EXISTS (SELECT FROM {executions} e WHERE e.tenant_id {=} $1 AND e.job_id {=} $2) "
		"FOR UPDATE SKIP LOCKED) "
		"DELETE FROM {jobs} j USING c WHERE j.tenant_id {=} $1 AND j.job_id {=} c.job_id",
		false, 2, {TEXTOID, TEXTOID}
	},
	[IJ_SQL_DUE_JOBS] = {
		"SELECT j.tenant_id, j.job_id, j.expires_at FROM {jobs} j "
		"WHERE j.status {=} 'IN_PROGRESS' AND j.expires_at {>} $1 AND j.expires_at {<=} $2 "
		"ORDER BY j.expires_at FETCH FIRST $3 ROWS WITH TIES",
		IN_ORDER, 3, {TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID}
	},
	[IJ_SQL_UNFINISHED_JOBS] = {
		"SELECT j.tenant_id, j.job_id FROM {jobs} j "
		"WHERE ROW(j.tenant_id, j.job_id) {>} ROW($1, $2) "
		"AND (j.status {=} 'IN_PROGRESS' OR j.status {=} 'DELETION_IN_PROGRESS') "
		"ORDER BY j.tenant_id, j.job_id LIMIT $3",
		IN_ORDER, 3, {TEXTOID, TEXTOID, INT8OID}
	},
	[IJ_SQL_NEXT_DEADLINE] = {
		"SELECT j.expires_at FROM {jobs} j "
		"WHERE j.status {=} 'IN_PROGRESS' AND j.expires_at {>} $1 ORDER BY j.expires_at LIMIT 1",
		IN_ORDER, 1, {TIMESTAMPTZOID}
	},
	[IJ_SQL_GET_EXECUTION] = {
		"SELECT " EXECUTION("e") " FROM {executions} e WHERE " THIS_EXECUTION("e") THIS_EXECUTION_ORDER("e"),
		IN_ORDER, 3, {TEXTOID, TEXTOID, TEXTOID}
	},
	[IJ_SQL_GET_EXECUTION_DOCUMENT] = {
		"SELECT " EXECUTION("e") ", " DOCUMENT("j") " FROM {executions} e JOIN {jobs} j ON " OF_JOB("e", "j") " "
		"WHERE e.tenant_id {=} $1 AND e.job_id {=} $2 AND e.device_id {=} $3",
		false, 3, {TEXTOID, TEXTOID, TEXTOID}
	},
	[IJ_SQL_RESUME] = {
		"SELECT " EXECUTION("e") ", " DOCUMENT("j") " FROM {executions} e JOIN {jobs} j ON " OF_JOB("e", "j") " "
		"WHERE e.tenant_id {=} $1 AND e.device_id {=} $2 AND e.status {=} 'IN_PROGRESS' "
		"AND j.status {<>} 'DELETION_IN_PROGRESS' "
		"ORDER BY e.queued_at, e.job_id LIMIT 1",
		false, 2, {TEXTOID, TEXTOID}
	},
	[IJ_SQL_CLAIM_NEXT] = {
		"WITH c AS MATERIALIZED (SELECT e.ctid, e.job_id FROM {executions} e JOIN {jobs} j ON " OF_JOB("e", "j") " "
		"WHERE e.tenant_id {=} $1 AND e.device_id {=} $2 AND e.status {=} 'QUEUED' AND " CLAIMABLE("j") " "
		"ORDER BY e.queued_at, e.job_id LIMIT 1 FOR NO KEY UPDATE OF e SKIP LOCKED) "
		"UPDATE {executions} e SET status_details = COALESCE($3, e.status_details), " START("e") " "
		"FROM c JOIN {jobs} j ON j.tenant_id {=} $1 AND j.job_id {=} c.job_id "
		"WHERE e.ctid {=} c.ctid "
		"RETURNING " EXECUTION("e") ", " DOCUMENT("j"),
		false, 3, {TEXTOID, TEXTOID, JSONBOID}
	},
	[IJ_SQL_CLAIM_ONE_EACH] = {
		"WITH c AS MATERIALIZED (SELECT x.ctid, x.job_id "
		"FROM pg_catalog.unnest($2) d(device_id) CROSS JOIN LATERAL ("
		"SELECT e.ctid, e.job_id FROM {executions} e JOIN {jobs} j ON " OF_JOB("e", "j") " "
		"WHERE e.tenant_id {=} $1 AND e.device_id {=} d.device_id AND e.status {=} 'QUEUED' "
		"AND " CLAIMABLE("j") " "
		"ORDER BY e.queued_at, e.job_id LIMIT 1 FOR NO KEY UPDATE OF e SKIP LOCKED) x LIMIT $3) "
		"UPDATE {executions} e SET status_details = e.status_details, " START("e") " "
		"FROM c JOIN {jobs} j ON j.tenant_id {=} $1 AND j.job_id {=} c.job_id "
		"WHERE e.ctid {=} c.ctid "
		"RETURNING " EXECUTION("e") ", " DOCUMENT("j"),
		false, 3, {TEXTOID, TEXTARRAYOID, INT8OID}
	},
	[IJ_SQL_DEVICES_WITH_QUEUED] = {
		"WITH RECURSIVE d(device_id) AS ("
		"(SELECT e.device_id FROM {executions} e "
		"WHERE e.tenant_id {=} $1 AND e.status {=} 'QUEUED' AND e.device_id {>} $2 "
		"ORDER BY e.device_id LIMIT 1) "
		"UNION ALL SELECT (SELECT e.device_id FROM {executions} e "
		"WHERE e.tenant_id {=} $1 AND e.status {=} 'QUEUED' AND e.device_id {>} d.device_id "
		"ORDER BY e.device_id LIMIT 1) FROM d WHERE d.device_id IS NOT NULL) "
		"SELECT d.device_id FROM d WHERE d.device_id IS NOT NULL LIMIT $3",
		IN_ORDER, 3, {TEXTOID, TEXTOID, INT8OID}
	},
	[IJ_SQL_PENDING] = {
		"SELECT " EXECUTION("e") ", " DOCUMENT("j") " FROM {executions} e JOIN {jobs} j ON " OF_JOB("e", "j") " "
		"WHERE e.tenant_id {=} $1 AND e.device_id {=} $2 "
		"AND (e.status {=} 'IN_PROGRESS' AND j.status {<>} 'DELETION_IN_PROGRESS' "
		"OR e.status {=} 'QUEUED' AND " CLAIMABLE("j") ") "
		"ORDER BY e.status {=} 'QUEUED', e.queued_at, e.job_id LIMIT $3",
		false, 3, {TEXTOID, TEXTOID, INT8OID}
	},
	[IJ_SQL_CHANGE_EXECUTION] = {
		"UPDATE {executions} e SET status = $4, status_details = COALESCE($5, e.status_details), "
		"execution_number = e.execution_number {+} 1, "
		"started_at = CASE WHEN $6 AND e.started_at IS NULL THEN " LATER_THAN("e.last_updated_at") " ELSE e.started_at END, "
		"last_updated_at = " LATER_THAN("e.last_updated_at") " "
		"WHERE e.ctid {=} (SELECT x.ctid FROM {executions} x WHERE " THIS_EXECUTION("x")
		"AND x.status {=} ANY ($7) AND ($8 IS NULL OR x.execution_number {=} $8) "
		THIS_EXECUTION_ORDER("x") "FOR NO KEY UPDATE) "
		"RETURNING " EXECUTION("e"),
		IN_ORDER, 8, {TEXTOID, TEXTOID, TEXTOID, TEXTOID, JSONBOID, BOOLOID, TEXTARRAYOID, INT8OID}
	},
	[IJ_SQL_DELETE_EXECUTION] = {
		"DELETE FROM {executions} e "
		"WHERE e.ctid {=} (SELECT x.ctid FROM {executions} x WHERE " THIS_EXECUTION("x")
		"AND x.status {=} ANY ($4) " THIS_EXECUTION_ORDER("x") ") "
		"RETURNING " EXECUTION("e"),
		IN_ORDER, 4, {TEXTOID, TEXTOID, TEXTOID, TEXTARRAYOID}
	},
	[IJ_SQL_LIST_EXECUTIONS_FOR_JOB] = {
		"SELECT " EXECUTION("e") ", j.created_at FROM {executions} e JOIN {jobs} j ON " OF_JOB("e", "j") " "
		"WHERE e.tenant_id {=} $1 AND e.job_id {=} $2 "
		"AND ($3 IS NULL OR e.status {=} $3) AND e.device_id {>} $4 "
		"ORDER BY e.device_id LIMIT $5",
		false, 5, {TEXTOID, TEXTOID, TEXTOID, TEXTOID, INT8OID}
	},
	[IJ_SQL_LIST_EXECUTIONS_FOR_DEVICE] = {
		"SELECT " EXECUTION("e") ", j.created_at FROM {jobs} j JOIN {executions} e ON " OF_JOB("e", "j") " "
		"WHERE j.tenant_id {=} $1 AND e.device_id {=} $2 "
		"AND ($3 IS NULL OR e.status {=} $3) "
		"AND ($4 IS NULL OR ROW(j.created_at, j.job_id) {<} ROW($4, $5)) "
		"ORDER BY j.created_at DESC, j.job_id DESC LIMIT $6",
		false, 6, {TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, TEXTOID, INT8OID}
	},
	[IJ_SQL_FIRST_EXECUTION] = {
		"SELECT e.device_id FROM {executions} e "
		"WHERE e.tenant_id {=} $1 AND e.job_id {=} $2 AND e.device_id {>=} $3 AND e.status {=} ANY ($4) "
		"ORDER BY e.device_id LIMIT 1",
		IN_ORDER, 4, {TEXTOID, TEXTOID, TEXTOID, TEXTARRAYOID}
	},
	[IJ_SQL_LOCK_EXECUTIONS] = {
		LOCK_BATCH("FOR NO KEY UPDATE"),
		IN_ORDER, 5, {TEXTOID, TEXTOID, TEXTOID, TEXTARRAYOID, INT8OID}
	},
	[IJ_SQL_LOCK_EXECUTIONS_SKIP] = {
		LOCK_BATCH("FOR NO KEY UPDATE SKIP LOCKED"),
		IN_ORDER, 5, {TEXTOID, TEXTOID, TEXTOID, TEXTARRAYOID, INT8OID}
	},
	[IJ_SQL_LOCK_EXECUTIONS_TO_DELETE] = {
		LOCK_BATCH("FOR UPDATE SKIP LOCKED"),
		IN_ORDER, 5, {TEXTOID, TEXTOID, TEXTOID, TEXTARRAYOID, INT8OID}
	},
	[IJ_SQL_ADD_EXECUTIONS] = {
		"INSERT INTO {executions} (job_id, tenant_id, device_id) "
		"SELECT $2, $1, d.device_id FROM pg_catalog.unnest($3) d(device_id)",
		false, 3, {TEXTOID, TEXTOID, TEXTARRAYOID}
	},
	[IJ_SQL_GET_FLEET] = {
		"SELECT f.devices::pg_catalog.oid, f.group_members::pg_catalog.oid FROM {fleet} f",
		false, 0, {0}
	},
	[IJ_SQL_UPDATE_FLEET] = {
		"UPDATE {fleet} SET devices = $1, group_members = $2",
		false, 2, {REGCLASSOID, REGCLASSOID}
	},
	[IJ_SQL_INSERT_FLEET] = {
		"INSERT INTO {fleet} (devices, group_members) VALUES ($1, $2)",
		false, 2, {REGCLASSOID, REGCLASSOID}
	},
	[IJ_SQL_ANY_DEVICE] = {
		"SELECT 1 FROM {registry} d WHERE d.tenant_id {=} $1 LIMIT 1",
		false, 1, {TEXTOID}
	},
	[IJ_SQL_ANY_MEMBER] = {
		"SELECT 1 FROM {registry} d WHERE d.tenant_id {=} $1 AND d.group_id {=} $2 LIMIT 1",
		false, 2, {TEXTOID, TEXTOID}
	},
	[IJ_SQL_THIS_DEVICE] = {
		"SELECT 1 FROM {registry} d WHERE d.tenant_id {=} $1 AND d.device_id {=} $2 LIMIT 1",
		false, 2, {TEXTOID, TEXTOID}
	},
	[IJ_SQL_WALK_DEVICES] = {
		"SELECT d.device_id::pg_catalog.text FROM {registry} d WHERE d.tenant_id {=} $1 ORDER BY 1",
		false, 1, {TEXTOID}
	},
	[IJ_SQL_WALK_MEMBERS] = {
		"SELECT d.device_id::pg_catalog.text FROM {registry} d "
		"WHERE d.tenant_id {=} $1 AND d.group_id {=} $2 ORDER BY 1",
		false, 2, {TEXTOID, TEXTOID}
	},
	[IJ_SQL_GUARD_LOCK_JOB] = {
		"SELECT j.status, j.expires_at FROM {jobs} j WHERE " THIS_JOB("j") THIS_JOB_ORDER("j") "FOR NO KEY UPDATE",
		IN_ORDER, 2, {TEXTOID, TEXTOID}
	},
	[IJ_SQL_END_ORPHANS] = {
		"UPDATE {executions} e SET status = 'REJECTED', status_details = $1 "
		"FROM {jobs} j WHERE " OF_JOB("e", "j") " AND j.status {=} 'CANCELED' AND e.status {=} 'QUEUED'",
		false, 1, {JSONBOID}
	},
};

/* clang-format on */
