/*
 * catalog.c
 *		Where the extension lives in this database, and as whom its tables are
 *		touched.
 *
 * No file assumes the name of the schema.  A function of the extension finds it
 * as its own namespace (the extension is not relocatable, so its tables were
 * created beside its functions); a worker finds it in pg_extension.
 *
 * Nor does any file ask whether library and SQL objects fit each other: both ways in
 * are here, and refuse the pair that a forgotten half of an upgrade leaves.  That is
 * asked again only after a function of the database has changed.  An update that
 * changes none leaves all that a session can call as it was.
 */
#include "postgres.h"

#include "catalog.h"
#include "compat.h"
#include "iot_jobs.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/pg_authid_d.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

/* the schema now in use; the name is re-read at each entry, since it can be renamed */
static Oid	schema_oid = InvalidOid;
static char schema_name[NAMEDATALEN];
static char schema_quoted[2 * NAMEDATALEN + 3];

/* changes of functions that this session has heard of, and at which the version was ours */
static uint64 function_changes = 1;
static uint64 served_at = 0;

static bool
use_schema(Oid namespace)
{
	char	   *name = get_namespace_name(namespace);

	if (name == NULL)
		return false;
	if (namespace != schema_oid || strcmp(name, schema_name) != 0)
	{
		strlcpy(schema_name, name, sizeof(schema_name));
		strlcpy(schema_quoted, quote_identifier(name), sizeof(schema_quoted));
		schema_oid = namespace;
	}
	pfree(name);
	return true;
}

const char *
ij_catalog_schema(void)
{
	Assert(OidIsValid(schema_oid));
	return schema_quoted;
}

/*
 * The row of an extension: the schema it was created in and, if asked for, the version
 * of its SQL objects.  There is no cache for pg_extension on every supported version,
 * so read the catalog.  False if it is not there.
 */
static bool
read_extension(Oid extension, Oid *namespace, char **version)
{
	Relation	rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found;

	ScanKeyInit(&key, Anum_pg_extension_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(extension));
	scan = systable_beginscan(rel, ExtensionOidIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	found = HeapTupleIsValid(tuple);
	if (found)
	{
		*namespace = ((Form_pg_extension) GETSTRUCT(tuple))->extnamespace;
		if (version != NULL)
		{
			bool		isnull;

			*version = TextDatumGetCString(heap_getattr(tuple, Anum_pg_extension_extversion,
														RelationGetDescr(rel), &isnull));
		}
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

static void
function_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	function_changes++;
}

void
ij_catalog_check_version(void)
{
	static bool registered = false;
	uint64		changes;
	Oid			namespace;
	char	   *version;

	if (likely(served_at == function_changes))
		return;

	/* the scripts of an extension pass through versions that it will not stay at */
	if (creating_extension)
		return;
	if (!registered)
	{
		CacheRegisterSyscacheCallback(PROCOID, function_changed, (Datum) 0);
		registered = true;
	}
	changes = function_changes;
	if (read_extension(get_extension_oid("iot_jobs", true), &namespace, &version))
	{
		if (strcmp(version, IJ_VERSION) != 0)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("iot_jobs library is version %s, but its SQL objects are version %s", IJ_VERSION, version),
					 errhint("If the library is newer, run ALTER EXTENSION iot_jobs UPDATE. If it is older, reconnect, or restart the server if the library is preloaded.")));
		pfree(version);
	}
	served_at = changes;
}

void
ij_catalog_use_any_version(FunctionCallInfo fcinfo)
{
	Oid			function = fcinfo->flinfo->fn_oid;

	if (!use_schema(get_func_namespace(function)))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("function with OID %u does not exist", function)));
}

void
ij_catalog_use(FunctionCallInfo fcinfo)
{
	ij_catalog_use_any_version(fcinfo);
	ij_catalog_check_version();
}

/*
 * A restore loads the rows before it creates the triggers.  Until the guard of a
 * table is there and enabled, its rows may be half of what is coming.
 */
static bool
is_guarded(const char *table)
{
	Oid			oid = get_relname_relid(table, schema_oid);
	Relation	rel = OidIsValid(oid) ? try_relation_open(oid, AccessShareLock) : NULL;
	bool		result = false;

	if (rel == NULL)
		return false;
	for (int i = 0; rel->trigdesc != NULL && i < rel->trigdesc->numtriggers; i++)
	{
		const Trigger *trigger = &rel->trigdesc->triggers[i];

		if (strcmp(trigger->tgname, "iot_jobs_guard") == 0)
			result = trigger->tgenabled == TRIGGER_FIRES_ON_ORIGIN || trigger->tgenabled == TRIGGER_FIRES_ALWAYS;
	}
	relation_close(rel, NoLock);
	return result;
}

/*
 * Lock first, then look again: an extension that was dropped while we waited for
 * the lock is not there.
 */
IjPresence
ij_catalog_find(void)
{
	Oid			extension = get_extension_oid("iot_jobs", true);
	Oid			namespace;

	if (!OidIsValid(extension))
		return IJ_ABSENT;
	LockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock);
	if (get_extension_oid("iot_jobs", true) != extension ||
		!read_extension(extension, &namespace, NULL) || !use_schema(namespace))
		return IJ_ABSENT;
	return is_guarded("jobs") && is_guarded("job_executions") ? IJ_READY : IJ_INCOMPLETE;
}

static Oid
table_oid(const char *name)
{
	Oid			result = get_relname_relid(name, schema_oid);

	if (!OidIsValid(result))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table \"%s\" of iot_jobs does not exist", name),
				 errdetail("It is expected in the schema of the extension, \"%s\".", schema_name),
				 errhint("Restore it, or run DROP EXTENSION iot_jobs, SET iot_jobs.create_tables = on and CREATE EXTENSION iot_jobs, "
						 "which creates what is missing.")));
	return result;
}

Oid
ij_catalog_jobs(void)
{
	return table_oid("jobs");
}

Oid
ij_catalog_executions(void)
{
	return table_oid("job_executions");
}

Oid
ij_catalog_tenants(void)
{
	return get_relname_relid("tenants", schema_oid);
}

static Oid
owner_of(Oid relation)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relation);
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

static void
become(Oid role, IjIdentity *saved)
{
	GetUserIdAndSecContext(&saved->user, &saved->context);
	SetUserIdAndSecContext(role,
						   saved->context | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION | SECURITY_NOFORCE_RLS);
}

/*
 * As foreign key checks do: the invariants hold for rows that the caller's row
 * security hides, too.  For that the role must own both tables, or row security
 * would hide rows of one of them from it.  SECURITY_RESTRICTED_OPERATION keeps what
 * a trigger of the table might try from outliving the statement.
 */
void
ij_catalog_become_owner(IjIdentity *saved)
{
	Oid			jobs = ij_catalog_jobs();
	Oid			executions = ij_catalog_executions();
	Oid			owner = owner_of(jobs);

	if (!ij_owns_relation(owner, executions))
	{
		owner = owner_of(executions);
		if (!ij_owns_relation(owner, jobs))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("tables jobs and job_executions have different owners"),
					 errhint("Give both to one role with ALTER TABLE ... OWNER TO, or make one owner a member of the other.")));
	}
	become(owner, saved);
}

void
ij_catalog_become_superuser(IjIdentity *saved)
{
	become(BOOTSTRAP_SUPERUSERID, saved);
}

void
ij_catalog_become_owner_of(Oid relation, IjIdentity *saved)
{
	become(owner_of(relation), saved);
}

void
ij_catalog_become_again(const IjIdentity *saved)
{
	SetUserIdAndSecContext(saved->user, saved->context);
}
