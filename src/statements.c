/*
 * statements.c
 *		The SQL text for the tables of iot_jobs: all of it, and nothing else.
 *
 * In the text, {jobs}, {executions}, {fleet}, {tenants} and {roles} stand for the
 * tables in the schema of the extension, {registry} for the relation that lists
 * devices, and any other {op} for OPERATOR(pg_catalog.op): a function can be called
 * under any search_path, so nothing is left to it.  For the same reason there is no
 * IN, no USING and no IS DISTINCT FROM, which look up an operator by its bare name.
 *
 * Lock order: a job before its executions, executions by device.  A statement
 * that may lock several rows locks them in that order, but for that of the install
 * script, which keeps all writers off.
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
 * than the rows, to read all executions of a job or of a tenant, or all jobs of a
 * tenant, for each row; only the primary key gives the order of a range.  For that
 * the job of an execution has to be a range, too: the device index gives the order of
 * the executions of one job as well, if all of the tenant's are passed over.
 */
#define THIS_JOB(j) \
	j ".tenant_id {=} $1 AND " j ".job_id {>=} $2 AND " j ".job_id {<=} $2 "
#define THIS_JOB_ORDER(j) \
	"ORDER BY " j ".tenant_id, " j ".job_id LIMIT 1 "
#define THIS_EXECUTION(e) \
	e ".tenant_id {=} $1 AND ROW(" e ".job_id, " e ".device_id) {>=} ROW($2, $3) " \
	"AND ROW(" e ".job_id, " e ".device_id) {<=} ROW($2, $3) "
#define EXECUTIONS_FROM(e) \
	e ".tenant_id {=} $1 AND ROW(" e ".job_id, " e ".device_id) {>=} ROW($2, $3) AND " e ".job_id {<=} $2 "
#define EXECUTION_ORDER(e) \
	"ORDER BY " e ".job_id, " e ".device_id "
#define THIS_EXECUTION_ORDER(e)	EXECUTION_ORDER(e) "LIMIT 1 "

/*
 * The same row again, by the ctid it was found at.  That is of one heap: where a
 * table has partitions, the key says in which.
 */
#define JOB_AT(j) \
	j ".tenant_id {=} $1 AND " j ".job_id {=} $2 AND " j ".ctid {=} "
#define EXECUTION_AT(e) \
	e ".tenant_id {=} $1 AND " e ".job_id {=} $2 AND " e ".device_id {=} $3 AND " e ".ctid {=} "
/* the same for one of many: other keys might make a plan that joins by them */
#define EXECUTION_FOUND(e, c) \
	e ".tableoid {=} " c ".tableoid AND " e ".ctid {=} " c ".ctid "

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
	"WHERE " EXECUTIONS_FROM("e") "AND e.status {=} ANY ($4) " EXECUTION_ORDER("e") "LIMIT $5 " lock

/* open, or changed so lately that a statement of somebody may see it open */
#define WANTED(e, age) \
	"(" e ".status {=} 'QUEUED' OR " e ".status {=} 'IN_PROGRESS' OR pg_catalog.age(" e ".xmin) {<=} " age ") "

/*
 * What verify_jobs() asks.  Each statement gives the columns of its result: the name
 * of what is broken, tenant, job, device, what is the case, and the statement that
 * mends it.  All have the same arguments:
 */
#define VERIFY_ARGS \
	7, {TEXTOID,				/* $1 tenant, null: all */ \
		INT8OID,				/* $2 rows wanted */ \
		TIMESTAMPTZOID,			/* $3 what is overdue since before then is broken */ \
		TEXTOID,				/* $4 jobs, in full */ \
		TEXTOID,				/* $5 job_executions, in full */ \
		TEXTOID,				/* $6 the schema of the extension, quoted */ \
		TEXTOID}				/* $7 version of the library */

#define OF_TENANT(r)	"($1 IS NULL OR " r ".tenant_id {=} $1) "

#define REINSTALL		"pg_catalog.format('DROP EXTENSION iot_jobs; SET iot_jobs.create_tables = on; CREATE EXTENSION iot_jobs SCHEMA %s', $6)"
#define SWEEP			"pg_catalog.format('SELECT * FROM %s.run_job_sweep()', $6)"

#define FIX_JOB(CHANGES) \
	"pg_catalog.format('UPDATE %s SET " CHANGES " WHERE tenant_id = %L AND job_id = %L', $4, j.tenant_id, j.job_id)"
#define DROP_JOB \
	"pg_catalog.format('DELETE FROM %s WHERE tenant_id = %L AND job_id = %L', $4, j.tenant_id, j.job_id)"
#define FIX_EXECUTION(CHANGES) \
	"pg_catalog.format('UPDATE %s SET " CHANGES " WHERE tenant_id = %L AND job_id = %L AND device_id = %L', " \
	"$5, e.tenant_id, e.job_id, e.device_id)"
#define DROP_EXECUTION \
	"pg_catalog.format('DELETE FROM %s WHERE tenant_id = %L AND job_id = %L AND device_id = %L', " \
	"$5, e.tenant_id, e.job_id, e.device_id)"

#define JOB_STATE(j) \
	"pg_catalog.format('status %s, created_at %s, updated_at %s, expires_at %s', " \
	j ".status, " j ".created_at, " j ".updated_at, COALESCE(" j ".expires_at::pg_catalog.text, 'none'))"
#define EXECUTION_STATE(e) \
	"pg_catalog.format('status %s, execution_number %s, queued_at %s, started_at %s, last_updated_at %s', " \
	e ".status, " e ".execution_number, " e ".queued_at, COALESCE(" e ".started_at::pg_catalog.text, 'none'), " e ".last_updated_at)"

#define JOB_STATUSES		"ARRAY['IN_PROGRESS', 'COMPLETED', 'CANCELED', 'DELETION_IN_PROGRESS']"
#define EXECUTION_STATUSES	"ARRAY['QUEUED', 'IN_PROGRESS', 'SUCCEEDED', 'FAILED', 'TIMED_OUT', 'REJECTED']"
#define IS_OPEN(e)			e ".status {=} ANY (ARRAY['QUEUED', 'IN_PROGRESS'])"

/* rows that no function and no guard would have made; the kinds of each in the order they are named */
#define JOB_WITHOUT_ID \
	"(j.tenant_id {=} '' OR j.job_id {=} '')"
#define JOB_BAD_STATUS \
	"(j.status {<>} ALL (" JOB_STATUSES ")) IS NOT FALSE"
#define JOB_BAD_TARGET \
	"pg_catalog.num_nonnulls(j.target_device_id, j.target_group_id, CASE WHEN j.target_all THEN true END) {<>} 1"
#define JOB_BAD_TIMES \
	"(NOT pg_catalog.isfinite(j.created_at) OR NOT pg_catalog.isfinite(j.updated_at) OR j.updated_at {<} j.created_at) IS NOT FALSE"
#define EXECUTION_WITHOUT_ID \
	"(e.tenant_id {=} '' OR e.job_id {=} '' OR e.device_id {=} '')"
#define EXECUTION_BAD_STATUS \
	"(e.status {<>} ALL (" EXECUTION_STATUSES ")) IS NOT FALSE"
#define EXECUTION_BAD_NUMBER \
	"(e.execution_number {<} 1) IS NOT FALSE"
#define EXECUTION_NOT_QUEUED \
	"(e.status {=} 'QUEUED' AND e.started_at IS NOT NULL)"
#define EXECUTION_NOT_STARTED \
	"(e.status {=} ANY (ARRAY['IN_PROGRESS', 'SUCCEEDED', 'FAILED']) AND e.started_at IS NULL)"
#define EXECUTION_NO_TIMES \
	"(e.queued_at IS NULL OR e.last_updated_at IS NULL OR " \
	"NOT pg_catalog.isfinite(e.queued_at) OR NOT pg_catalog.isfinite(e.last_updated_at) OR NOT pg_catalog.isfinite(e.started_at))"
#define EXECUTION_BAD_TIMES \
	"(e.started_at {<} e.queued_at OR e.last_updated_at {<} e.queued_at OR e.last_updated_at {<} e.started_at)"

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
		"WHERE " JOB_AT("j") "(SELECT x.ctid FROM {jobs} x WHERE " THIS_JOB("x") THIS_JOB_ORDER("x") ") RETURNING " JOB("j"),
		IN_ORDER, 3, {TEXTOID, TEXTOID, TEXTOID}
	},
	[IJ_SQL_SET_JOB_EXPIRY] = {
		"UPDATE {jobs} j SET expires_at = $3, updated_at = " LATER_THAN("j.updated_at") " "
		"WHERE " JOB_AT("j") "(SELECT x.ctid FROM {jobs} x WHERE " THIS_JOB("x") THIS_JOB_ORDER("x") ") RETURNING " JOB("j"),
		IN_ORDER, 3, {TEXTOID, TEXTOID, TIMESTAMPTZOID}
	},
	[IJ_SQL_COUNT_EXECUTIONS] = {
		"SELECT c.* FROM pg_catalog.unnest($2) WITH ORDINALITY AS d(job_id, number) "
		"CROSS JOIN LATERAL (SELECT " COUNTS("e") " FROM {executions} e "
		"WHERE e.tenant_id {=} $1 AND e.job_id {=} d.job_id) c ORDER BY d.number",
		false, 2, {TEXTOID, TEXTARRAYOID}
	},
	[IJ_SQL_LIST_JOBS] = {
		"SELECT " JOB("j") " FROM {jobs} j WHERE j.tenant_id {=} $1 "
		"AND ($2 IS NULL OR j.status {=} $2) "
		"AND ($3 IS NULL OR j.document_type {=} $3) "
		"AND ($4 IS NULL OR j.target_device_id {=} $4) "
		"AND ($5 IS NULL OR j.target_group_id {=} $5) "
		"AND ($6 IS NULL OR ROW(j.created_at, j.job_id) {<} ROW($6, $7)) "
		"ORDER BY j.created_at DESC, j.job_id DESC LIMIT $8",
		false, 8, {TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, TEXTOID, INT8OID}
	},
	[IJ_SQL_MARK_FOR_DELETION] = {
		"WITH c AS MATERIALIZED (SELECT j.tenant_id, j.job_id FROM {jobs} j "
		"WHERE ($1 IS NULL OR j.tenant_id {=} $1) "
		"AND (j.status {=} 'COMPLETED' OR j.status {=} 'CANCELED') AND j.updated_at {<} $2 "
		"ORDER BY j.tenant_id, j.job_id FOR NO KEY UPDATE SKIP LOCKED) "
		"UPDATE {jobs} j SET status = 'DELETION_IN_PROGRESS', updated_at = " LATER_THAN("j.updated_at") " "
		"FROM c WHERE j.tenant_id {=} c.tenant_id AND j.job_id {=} c.job_id",
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
		"WITH c AS MATERIALIZED (SELECT e.tableoid, e.ctid, e.job_id FROM {executions} e JOIN {jobs} j ON " OF_JOB("e", "j") " "
		"WHERE e.tenant_id {=} $1 AND e.device_id {=} $2 AND e.status {=} 'QUEUED' AND " CLAIMABLE("j") " "
		"ORDER BY e.queued_at, e.job_id LIMIT 1 FOR NO KEY UPDATE OF e SKIP LOCKED) "
		"UPDATE {executions} e SET status_details = COALESCE($3, e.status_details), " START("e") " "
		"FROM c JOIN {jobs} j ON j.tenant_id {=} $1 AND j.job_id {=} c.job_id "
		"WHERE " EXECUTION_FOUND("e", "c")
		"RETURNING " EXECUTION("e") ", " DOCUMENT("j"),
		false, 3, {TEXTOID, TEXTOID, JSONBOID}
	},
	[IJ_SQL_CLAIM_ONE_EACH] = {
		"WITH c AS MATERIALIZED (SELECT x.tableoid, x.ctid, x.job_id "
		"FROM pg_catalog.unnest($2) d(device_id) CROSS JOIN LATERAL ("
		"SELECT e.tableoid, e.ctid, e.job_id FROM {executions} e JOIN {jobs} j ON " OF_JOB("e", "j") " "
		"WHERE e.tenant_id {=} $1 AND e.device_id {=} d.device_id AND e.status {=} 'QUEUED' "
		"AND " CLAIMABLE("j") " "
		"ORDER BY e.queued_at, e.job_id LIMIT 1 FOR NO KEY UPDATE OF e SKIP LOCKED) x LIMIT $3) "
		"UPDATE {executions} e SET status_details = e.status_details, " START("e") " "
		"FROM c JOIN {jobs} j ON j.tenant_id {=} $1 AND j.job_id {=} c.job_id "
		"WHERE " EXECUTION_FOUND("e", "c")
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
		"WHERE " EXECUTION_AT("e") "(SELECT x.ctid FROM {executions} x WHERE " THIS_EXECUTION("x")
		"AND x.status {=} ANY ($7) AND ($8 IS NULL OR x.execution_number {=} $8) "
		THIS_EXECUTION_ORDER("x") "FOR NO KEY UPDATE) "
		"RETURNING " EXECUTION("e"),
		IN_ORDER, 8, {TEXTOID, TEXTOID, TEXTOID, TEXTOID, JSONBOID, BOOLOID, TEXTARRAYOID, INT8OID}
	},
	[IJ_SQL_DELETE_EXECUTION] = {
		"DELETE FROM {executions} e "
		"WHERE " EXECUTION_AT("e") "(SELECT x.ctid FROM {executions} x WHERE " THIS_EXECUTION("x")
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
		"WHERE " EXECUTIONS_FROM("e") "AND e.status {=} ANY ($4) " THIS_EXECUTION_ORDER("e"),
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
	[IJ_SQL_LOCK_WANTED_EXECUTIONS] = {
		"SELECT pg_catalog.count(*) FROM (SELECT FROM {executions} e "
		"WHERE e.tenant_id {=} $1 AND e.job_id {>=} $2 AND e.job_id {<=} $2 AND " WANTED("e", "$3")
		EXECUTION_ORDER("e") "FOR UPDATE) e",
		IN_ORDER, 3, {TEXTOID, TEXTOID, INT4OID}
	},
	[IJ_SQL_TENANT] = {
		"SELECT 1 FROM {tenants} t WHERE t.tenant_id {=} $1",
		false, 1, {TEXTOID}
	},
	[IJ_SQL_LOCK_TENANT_JOBS] = {
		"SELECT pg_catalog.count(*) FROM (SELECT FROM {jobs} j "
		"WHERE j.tenant_id {=} $1 ORDER BY j.job_id FOR UPDATE) j",
		false, 1, {TEXTOID}
	},
	[IJ_SQL_LOCK_TENANT_WANTED_EXECUTIONS] = {
		"SELECT pg_catalog.count(*) FROM (SELECT FROM {executions} e "
		"WHERE e.tenant_id {=} $1 AND " WANTED("e", "$2")
		EXECUTION_ORDER("e") "FOR UPDATE) e",
		false, 2, {TEXTOID, INT4OID}
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
	[IJ_SQL_VERIFY_TABLES] = {
		"SELECT 'table_missing', NULL, NULL, NULL, "
		"pg_catalog.format('there is no table %s.%s', $6, n.name), " REINSTALL " "
		"FROM pg_catalog.unnest(ARRAY['tenants', 'jobs', 'job_executions', 'iot_jobs_fleet']) n(name) "
		"WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_class c "
		"WHERE c.relnamespace {=} $6::pg_catalog.regnamespace AND c.relname {=} n.name) LIMIT $2",
		false, VERIFY_ARGS
	},
	[IJ_SQL_VERIFY_VERSION] = {
		"SELECT 'version', NULL, NULL, NULL, "
		"pg_catalog.format('the library is version %s, the SQL objects are version %s', $7, x.extversion), "
		"pg_catalog.format('ALTER EXTENSION iot_jobs UPDATE TO %L', $7) "
		"FROM pg_catalog.pg_extension x WHERE x.extname {=} 'iot_jobs' AND x.extversion {<>} $7 LIMIT $2",
		false, VERIFY_ARGS
	},
	[IJ_SQL_VERIFY_OWNERS] = {
		"SELECT 'owners', NULL, NULL, NULL, "
		"pg_catalog.format('%s belongs to %s and %s to %s', $4, j.relowner::pg_catalog.regrole, $5, e.relowner::pg_catalog.regrole), "
		"pg_catalog.format('ALTER TABLE %s OWNER TO %s', $5, j.relowner::pg_catalog.regrole) "
		"FROM pg_catalog.pg_class j CROSS JOIN pg_catalog.pg_class e "
		"WHERE j.oid {=} $4::pg_catalog.regclass AND e.oid {=} $5::pg_catalog.regclass "
		"AND NOT pg_catalog.pg_has_role(j.relowner, e.relowner, 'USAGE') "
		"AND NOT pg_catalog.pg_has_role(e.relowner, j.relowner, 'USAGE') "
		"UNION ALL "
		"SELECT 'owners', NULL, NULL, NULL, "
		"pg_catalog.format('%s owns %s and may not use schema %s', c.relowner::pg_catalog.regrole, w.tab, $6), "
		"pg_catalog.format('GRANT USAGE ON SCHEMA %s TO %s', $6, c.relowner::pg_catalog.regrole) "
		"FROM pg_catalog.unnest(ARRAY[$4, $5]) w(tab) "
		"JOIN pg_catalog.pg_class c ON c.oid {=} w.tab::pg_catalog.regclass "
		"WHERE NOT pg_catalog.has_schema_privilege(c.relowner, $6::pg_catalog.regnamespace, 'USAGE') LIMIT $2",
		false, VERIFY_ARGS
	},
	/* the types are bits of pg_trigger.tgtype: row, before, and which events */
	[IJ_SQL_VERIFY_TRIGGERS] = {
		"SELECT 'guard', NULL, NULL, NULL, "
		"pg_catalog.format('trigger %s of table %s is %s', w.name, w.tab, "
		"CASE WHEN t.oid IS NULL THEN 'missing' WHEN t.tgenabled {<>} ALL (ARRAY['O', 'A']::\"char\"[]) THEN 'disabled' ELSE 'another one' END), "
		"CASE WHEN t.tgenabled {<>} ALL (ARRAY['O', 'A']::\"char\"[]) "
		"THEN pg_catalog.format('ALTER TABLE %s ENABLE TRIGGER %I', w.tab, w.name) "
		"ELSE pg_catalog.format('DROP TRIGGER IF EXISTS %2$I ON %1$s; "
		"CREATE TRIGGER %2$I %3$s ON %1$s FOR EACH ROW %4$sEXECUTE FUNCTION %5$s.%6$I(); "
		"ALTER TRIGGER %2$I ON %1$s DEPENDS ON EXTENSION iot_jobs', w.tab, w.name, w.events, w.cond, $6, w.func) END "
		"FROM (VALUES ($4, 'iot_jobs_guard', 'iot_jobs_guard_job', 31, 'BEFORE INSERT OR UPDATE OR DELETE', ''), "
		"($4, 'iot_jobs_cascade_cancel', 'iot_jobs_cascade_cancel', 17, 'AFTER UPDATE', "
		"'WHEN (NEW.status = ''CANCELED'' AND OLD.status <> ''CANCELED'') '), "
		"($5, 'iot_jobs_guard', 'iot_jobs_guard_execution', 31, 'BEFORE INSERT OR UPDATE OR DELETE', '')) "
		"w(tab, name, func, type, events, cond) "
		"LEFT JOIN pg_catalog.pg_trigger t ON t.tgrelid {=} w.tab::pg_catalog.regclass AND t.tgname {=} w.name "
		"LEFT JOIN pg_catalog.pg_proc p ON p.oid {=} t.tgfoid AND p.proname {=} w.func "
		"AND p.pronamespace {=} $6::pg_catalog.regnamespace "
		"WHERE t.oid IS NULL OR p.oid IS NULL OR t.tgtype {<>} w.type OR t.tgattr::pg_catalog.text {<>} '' "
		"OR t.tgenabled {<>} ALL (ARRAY['O', 'A']::\"char\"[]) "
		"OR w.name {=} 'iot_jobs_guard' AND t.tgqual IS NOT NULL LIMIT $2",
		false, VERIFY_ARGS
	},
	[IJ_SQL_VERIFY_ROW_SECURITY] = {
		"SELECT 'row_security', NULL, NULL, NULL, "
		"pg_catalog.format('row security of table %s is off', w.tab), "
		"pg_catalog.format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', w.tab) "
		"FROM pg_catalog.unnest(ARRAY[$4, $5]) w(tab) "
		"JOIN pg_catalog.pg_class c ON c.oid {=} w.tab::pg_catalog.regclass "
		"WHERE NOT c.relrowsecurity LIMIT $2",
		false, VERIFY_ARGS
	},
	/* a permissive policy for everybody beside ours can only show more rows to everybody */
	[IJ_SQL_VERIFY_POLICIES] = {
		"SELECT 'policy', NULL, NULL, NULL, "
		"pg_catalog.format('policy %I of table %s is not that of the migration, or missing', w.name, w.tab), "
		"pg_catalog.format('DROP POLICY IF EXISTS %I ON %s; CREATE POLICY %I ON %s "
		"USING (tenant_id = current_setting(''app.tenant_id'', true)) "
		"WITH CHECK (tenant_id = current_setting(''app.tenant_id'', true))', w.name, w.tab, w.name, w.tab) "
		"FROM (VALUES ($4, 'jobs_tenant_isolation'), ($5, 'job_executions_tenant_isolation')) w(tab, name) "
		"WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_policy p "
		"WHERE p.polrelid {=} w.tab::pg_catalog.regclass AND p.polname {=} w.name "
		"AND p.polcmd {=} '*' AND p.polpermissive AND p.polroles {=} ARRAY[0]::pg_catalog.oid[] "
		"AND pg_catalog.pg_get_expr(p.polqual, p.polrelid) {=} '(tenant_id = current_setting(''app.tenant_id''::text, true))' "
		"AND pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid) {=} '(tenant_id = current_setting(''app.tenant_id''::text, true))') "
		"UNION ALL "
		"SELECT 'policy', NULL, NULL, NULL, "
		"pg_catalog.format('policy %I of table %s shows more rows to everybody', p.polname, w.tab), "
		"pg_catalog.format('DROP POLICY %I ON %s', p.polname, w.tab) "
		"FROM (VALUES ($4, 'jobs_tenant_isolation'), ($5, 'job_executions_tenant_isolation')) w(tab, name) "
		"JOIN pg_catalog.pg_policy p ON p.polrelid {=} w.tab::pg_catalog.regclass AND p.polname {<>} w.name "
		"WHERE p.polpermissive AND 0 {=} ANY (p.polroles) LIMIT $2",
		false, VERIFY_ARGS
	},
	[IJ_SQL_VERIFY_CONSTRAINTS] = {
		"SELECT 'constraint', NULL, NULL, NULL, "
		"pg_catalog.format('constraint %s of table %s is %s', w.name, w.tab, CASE WHEN k.oid IS NULL THEN 'missing' ELSE 'not validated' END), "
		"CASE WHEN k.oid IS NULL "
		"THEN pg_catalog.format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS %I, ADD CONSTRAINT %I %s', w.tab, w.name, w.name, w.def) "
		"ELSE pg_catalog.format('ALTER TABLE %s VALIDATE CONSTRAINT %I', w.tab, k.conname) END "
		"FROM (VALUES ($4, 'jobs_pkey', 'PRIMARY KEY (tenant_id, job_id)'), "
		"($4, 'jobs_tenant_id_fkey', pg_catalog.format('FOREIGN KEY (tenant_id) REFERENCES %s.tenants(tenant_id) ON DELETE CASCADE', $6)), "
		"($4, 'jobs_status_check', 'CHECK ((status = ANY (ARRAY[''IN_PROGRESS''::text, ''COMPLETED''::text, ''CANCELED''::text, ''DELETION_IN_PROGRESS''::text])))'), "
		"($4, 'jobs_target_check', 'CHECK ((((((target_device_id IS NOT NULL))::integer + ((target_group_id IS NOT NULL))::integer) + ((target_all = true))::integer) = 1))'), "
		"($5, 'job_executions_pkey', 'PRIMARY KEY (tenant_id, job_id, device_id)'), "
		"($5, 'job_executions_tenant_id_job_id_fkey', pg_catalog.format('FOREIGN KEY (tenant_id, job_id) REFERENCES %s(tenant_id, job_id) ON DELETE CASCADE', $4)), "
		"($5, 'job_executions_status_check', 'CHECK ((status = ANY (ARRAY[''QUEUED''::text, ''IN_PROGRESS''::text, ''SUCCEEDED''::text, ''FAILED''::text, ''TIMED_OUT''::text, ''REJECTED''::text])))')"
		") w(tab, name, def) "
		"LEFT JOIN LATERAL (SELECT k.oid, k.conname, k.convalidated FROM pg_catalog.pg_constraint k "
		"WHERE k.conrelid {=} w.tab::pg_catalog.regclass "
		"AND (pg_catalog.pg_get_constraintdef(k.oid) {=} w.def OR pg_catalog.pg_get_constraintdef(k.oid) {=} (w.def {||} ' NOT VALID')) "
		"ORDER BY k.convalidated DESC LIMIT 1) k ON true "
		"WHERE k.oid IS NULL OR NOT k.convalidated LIMIT $2",
		false, VERIFY_ARGS
	},
	[IJ_SQL_VERIFY_FOREIGN_KEYS] = {
		"SELECT 'foreign_key', NULL, NULL, NULL, "
		"pg_catalog.format('foreign key %s of table %s is not checked: its triggers on table %s are disabled', "
		"k.conname, k.conrelid::pg_catalog.regclass, t.tgrelid::pg_catalog.regclass), "
		"pg_catalog.format('ALTER TABLE %s ENABLE TRIGGER ALL', t.tgrelid::pg_catalog.regclass) "
		"FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_trigger t ON t.tgconstraint {=} k.oid "
		"WHERE k.conrelid {=} ANY (ARRAY[$4, $5]::pg_catalog.regclass[]) AND k.contype {=} 'f' "
		"AND t.tgenabled {<>} ALL (ARRAY['O', 'A']::\"char\"[]) "
		"GROUP BY k.conname, k.conrelid, t.tgrelid LIMIT $2",
		false, VERIFY_ARGS
	},
	/* the lean profile has one index by device in place of the migration's two; one that is being built is no fault */
	[IJ_SQL_VERIFY_INDEXES] = {
		"SELECT 'index', NULL, NULL, NULL, "
		"pg_catalog.format('index %s of table %s is %s', w.name, w.tab, CASE WHEN i.indexrelid IS NULL THEN 'missing' ELSE 'not valid' END), "
		"CASE WHEN i.indexrelid IS NULL THEN pg_catalog.format('CREATE INDEX CONCURRENTLY %I ON %s %s', w.name, w.tab, w.def) "
		"ELSE pg_catalog.format('REINDEX INDEX CONCURRENTLY %s.%I', $6, w.name) END "
		"FROM (VALUES ('idx_jobs_tenant_status', $4, 'USING btree (tenant_id, status)'), "
		"('idx_jobs_expires_at', $4, 'USING btree (expires_at) WHERE ((expires_at IS NOT NULL) AND (status = ''IN_PROGRESS''::text))'), "
		"('idx_job_executions_device_queued', $5, 'USING btree (tenant_id, device_id, status) WHERE (status = ANY (ARRAY[''QUEUED''::text, ''IN_PROGRESS''::text]))'), "
		"('idx_job_executions_job_id', $5, 'USING btree (tenant_id, job_id)')) w(name, tab, def) "
		"LEFT JOIN (pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid {=} i.indexrelid) "
		"ON i.indrelid {=} w.tab::pg_catalog.regclass AND c.relname {=} w.name "
		"AND pg_catalog.replace(pg_catalog.pg_get_indexdef(i.indexrelid), ' ON ONLY ', ' ON ') "
		"{=} pg_catalog.format('CREATE INDEX %I ON %s %s', w.name, w.tab, w.def) "
		"WHERE (i.indexrelid IS NULL OR NOT i.indisvalid) "
		"AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index b WHERE b.index_relid {=} i.indexrelid) "
		"AND (w.tab {=} $4 OR NOT EXISTS (SELECT FROM pg_catalog.pg_index l "
		"WHERE l.indrelid {=} $5::pg_catalog.regclass AND l.indisvalid AND l.indpred IS NULL AND pg_catalog.pg_get_indexdef(l.indexrelid) "
		"{~} 'USING btree \\(tenant_id, device_id, queued_at\\)')) LIMIT $2",
		false, VERIFY_ARGS
	},
	[IJ_SQL_VERIFY_FLEET] = {
		"SELECT 'registry', NULL, NULL, NULL, 'a relation chosen with use_fleet() does not exist any more', "
		"pg_catalog.format('-- SELECT %s.use_fleet(devices => ..., group_members => ...)', $6) FROM {fleet} f "
		"WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid {=} f.devices) "
		"OR f.group_members IS NOT NULL AND NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid {=} f.group_members) LIMIT $2",
		false, VERIFY_ARGS
	},
	/* one worker may still be leaving when the next one has begun */
	[IJ_SQL_VERIFY_WORKER] = {
		"SELECT 'worker', NULL, NULL, NULL, "
		"CASE WHEN a.xact_start {<} $3 THEN pg_catalog.format('worker %s is in a transaction since %s', a.pid, a.xact_start) "
		"WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.format('worker %s runs on a standby', a.pid) "
		"ELSE pg_catalog.format('worker %s is not the only one', a.pid) END, "
		"pg_catalog.format('SELECT pg_terminate_backend(%s)', a.pid) "
		"FROM pg_catalog.pg_stat_activity a "
		"WHERE a.backend_type {=} 'iot_jobs worker' AND a.datname {=} pg_catalog.current_database() AND a.backend_start {<} $3 "
		"AND (a.xact_start {<} $3 OR pg_catalog.pg_is_in_recovery() "
		"OR EXISTS (SELECT FROM pg_catalog.pg_stat_activity o WHERE o.backend_type {=} 'iot_jobs worker' "
		"AND o.datid {=} a.datid AND o.backend_start {<} a.backend_start)) LIMIT $2",
		false, VERIFY_ARGS
	},
	[IJ_SQL_VERIFY_JOBS] = {
		"SELECT CASE WHEN " JOB_WITHOUT_ID " THEN 'job_without_id' WHEN " JOB_BAD_STATUS " THEN 'job_status' "
		"WHEN " JOB_BAD_TARGET " THEN 'job_target' ELSE 'job_times' END, "
		"j.tenant_id, j.job_id, NULL, " JOB_STATE("j") ", "
		"CASE WHEN " JOB_WITHOUT_ID " THEN " DROP_JOB " "
		"WHEN " JOB_BAD_STATUS " THEN " FIX_JOB("status = ''CANCELED''") " "
		"WHEN " JOB_BAD_TARGET " THEN " FIX_JOB("target_all = target_device_id IS NULL AND target_group_id IS NULL, "
			"target_group_id = CASE WHEN target_device_id IS NULL THEN target_group_id END") " "
		"ELSE " FIX_JOB("created_at = CASE WHEN isfinite(created_at) THEN created_at ELSE now() END, updated_at = GREATEST(now(), "
			"CASE WHEN isfinite(created_at) THEN created_at END)") " END "
		"FROM {jobs} j WHERE " OF_TENANT("j") "AND (" JOB_WITHOUT_ID " OR " JOB_BAD_STATUS " OR " JOB_BAD_TARGET " OR " JOB_BAD_TIMES ") LIMIT $2",
		false, VERIFY_ARGS
	},
	[IJ_SQL_VERIFY_EXECUTIONS] = {
		"SELECT CASE WHEN " EXECUTION_WITHOUT_ID " THEN 'execution_without_id' WHEN " EXECUTION_BAD_STATUS " THEN 'execution_status' "
		"WHEN " EXECUTION_BAD_NUMBER " THEN 'execution_number' "
		"WHEN " EXECUTION_NOT_QUEUED " OR " EXECUTION_NOT_STARTED " THEN 'execution_started_at' ELSE 'execution_times' END, "
		"e.tenant_id, e.job_id, e.device_id, " EXECUTION_STATE("e") ", "
		"CASE WHEN " EXECUTION_WITHOUT_ID " THEN " DROP_EXECUTION " "
		"WHEN " EXECUTION_BAD_STATUS " THEN " FIX_EXECUTION("status = ''REJECTED''") " "
		"WHEN " EXECUTION_BAD_NUMBER " THEN " FIX_EXECUTION("execution_number = 1") " "
		"WHEN " EXECUTION_NOT_QUEUED " THEN " FIX_EXECUTION("started_at = NULL") " "
		"WHEN " EXECUTION_NOT_STARTED " THEN " FIX_EXECUTION("started_at = last_updated_at") " "
		"WHEN " EXECUTION_NO_TIMES " THEN " FIX_EXECUTION("queued_at = now(), started_at = CASE WHEN started_at IS NOT NULL THEN now() END, last_updated_at = now()") " "
		"ELSE " FIX_EXECUTION("started_at = CASE WHEN started_at IS NOT NULL THEN GREATEST(started_at, queued_at) END, "
			"last_updated_at = GREATEST(last_updated_at, started_at, queued_at)") " END "
		"FROM {executions} e WHERE " OF_TENANT("e") "AND (" EXECUTION_WITHOUT_ID " OR " EXECUTION_BAD_STATUS " OR " EXECUTION_BAD_NUMBER
		" OR " EXECUTION_NOT_QUEUED " OR " EXECUTION_NOT_STARTED " OR " EXECUTION_NO_TIMES " OR " EXECUTION_BAD_TIMES ") LIMIT $2",
		false, VERIFY_ARGS
	},
	[IJ_SQL_VERIFY_TENANTS] = {
		"SELECT 'job_without_tenant', j.tenant_id, j.job_id, NULL, 'there is no such tenant', "
		"pg_catalog.format('INSERT INTO %s.tenants (tenant_id) VALUES (%L) ON CONFLICT DO NOTHING', $6, j.tenant_id) "
		"FROM {jobs} j WHERE " OF_TENANT("j") "AND j.tenant_id {<>} '' "
		"AND NOT EXISTS (SELECT FROM {tenants} t WHERE t.tenant_id {=} j.tenant_id) LIMIT $2",
		false, VERIFY_ARGS
	},
	[IJ_SQL_VERIFY_ORPHANS] = {
		"SELECT CASE WHEN o.tenant_id IS NULL THEN 'execution_without_job' ELSE 'execution_of_other_tenant' END, "
		"e.tenant_id, e.job_id, e.device_id, "
		"CASE WHEN o.tenant_id IS NULL THEN 'there is no such job' "
		"ELSE pg_catalog.format('the job of that name belongs to tenant %s', o.tenant_id) END, " DROP_EXECUTION " "
		"FROM (SELECT e.* FROM {executions} e WHERE " OF_TENANT("e")
		"AND NOT EXISTS (SELECT FROM {jobs} j WHERE " OF_JOB("e", "j") ") LIMIT $2) e "
		"LEFT JOIN LATERAL (SELECT j.tenant_id FROM {jobs} j WHERE j.job_id {=} e.job_id LIMIT 1) o ON true",
		false, VERIFY_ARGS
	},
	[IJ_SQL_VERIFY_OPEN_IN_FINISHED] = {
		"SELECT 'open_in_finished_job', e.tenant_id, e.job_id, e.device_id, "
		"pg_catalog.format('it is %s, and the job %s', e.status, j.status), "
		FIX_EXECUTION("status = ''REJECTED'', status_details = jsonb_build_object(''reason'', ''job_finished'')") " "
		"FROM {executions} e JOIN {jobs} j ON " OF_JOB("e", "j") " "
		"WHERE " OF_TENANT("e") "AND " IS_OPEN("e") " "
		"AND (j.status {=} 'COMPLETED' OR j.status {=} 'CANCELED' AND e.status {=} 'QUEUED') LIMIT $2",
		false, VERIFY_ARGS
	},
	[IJ_SQL_VERIFY_NOT_EXPIRED] = {
		"SELECT 'job_not_expired', j.tenant_id, j.job_id, e.device_id, "
		"pg_catalog.format('it is QUEUED, and the job expired at %s', j.expires_at), " SWEEP " "
		"FROM {jobs} j CROSS JOIN LATERAL (SELECT e.device_id FROM {executions} e WHERE " OF_JOB("e", "j") " "
		"AND e.status {=} 'QUEUED' AND e.last_updated_at {<} $3 LIMIT 1) e "
		"WHERE " OF_TENANT("j") "AND j.status {=} 'IN_PROGRESS' AND j.expires_at {<} $3 AND j.updated_at {<} $3 LIMIT $2",
		false, VERIFY_ARGS
	},
	/* a job without any execution is completed when it expires, or after an hour: see sweep.c */
	[IJ_SQL_VERIFY_NOT_COMPLETED] = {
		"SELECT 'job_not_completed', j.tenant_id, j.job_id, NULL, "
		"pg_catalog.format('none of its executions is open, and it is IN_PROGRESS; updated at %s', j.updated_at), " SWEEP " "
		"FROM {jobs} j WHERE " OF_TENANT("j") "AND j.status {=} 'IN_PROGRESS' AND j.updated_at {<} $3 "
		"AND NOT EXISTS (SELECT FROM {executions} e WHERE " OF_JOB("e", "j") " AND (" IS_OPEN("e") " OR e.last_updated_at {>=} $3)) "
		"AND (j.expires_at {<} $3 OR j.updated_at {<} ($3 {-} '1 hour'::pg_catalog.interval) "
		"OR EXISTS (SELECT FROM {executions} e WHERE " OF_JOB("e", "j") ")) LIMIT $2",
		false, VERIFY_ARGS
	},
	[IJ_SQL_VERIFY_NOT_DELETED] = {
		"SELECT 'job_not_deleted', j.tenant_id, j.job_id, NULL, "
		"pg_catalog.format('it is DELETION_IN_PROGRESS since %s', j.updated_at), " SWEEP " "
		"FROM {jobs} j WHERE " OF_TENANT("j") "AND j.status {=} 'DELETION_IN_PROGRESS' AND j.updated_at {<} $3 LIMIT $2",
		false, VERIFY_ARGS
	},
};

/*
 * The policies that the install script creates, to recognise them by: that of
 * migration 077, that of use_hardened_tenants(), and that of its map of roles.
 */
const char ij_policy_of_tenant[] =
	"tenant_id {=} pg_catalog.current_setting('app.tenant_id', true)";
const char ij_policy_of_login[] =
	"tenant_id {=} ANY (ARRAY(SELECT COALESCE(r.tenant_id, pg_catalog.current_setting('app.tenant_id', true)) "
	"FROM {roles} r WHERE r.role_name {=} SESSION_USER))";
const char ij_policy_of_roles[] =
	"role_name {=} SESSION_USER";

/* clang-format on */
