/*
 * policy.c
 *		The row security policies that are known, and what they let through.
 *
 * Two policies are known on a table of tenants: that of migration 077, which shows
 * the tenant in app.tenant_id, and the restrictive one of use_hardened_tenants(),
 * which shows the tenants that a table gives to the login of the session.  A policy
 * is known if it is, node for node, what the parser makes of our text: what looks
 * alike and means something else is a stranger, whose rows are reached by SQL only.
 *
 * The map of roles is read with each call, as SQL would do, since a row of it can
 * change at any time; what the map itself looks like is kept until the relation
 * cache says that it changed.
 */
#include "postgres.h"

#include "policy.h"

#include "access/genam.h"
#include "access/table.h"
#include "catalog/pg_am_d.h"
#include "catalog/pg_class.h"
#include "catalog/pg_opfamily_d.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "parser/parse_clause.h"
#include "parser/parse_collate.h"
#include "parser/parse_node.h"
#include "parser/parse_relation.h"
#include "parser/parser.h"
#include "rewrite/rowsecurity.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"

#include "catalog.h"
#include "iot_jobs.h"
#include "query.h"

/* the map of roles, as it was when its index was looked for */
static struct
{
	Oid			relation;
	bool		valid;
	Oid			by_role;		/* an index that begins with role_name; invalid: use SQL */
	AttrNumber	role_name;
	AttrNumber	tenant_id;
} roles;

/*
 * What CREATE POLICY makes of this expression.  Nothing of it is run; and whoever reaches
 * the table by a view need not have the right to use its schema.
 */
static Node *
parse_policy(Relation rel, const char *expression)
{
	IjIdentity	identity;
	ParseState *pstate = make_parsestate(NULL);
	char	   *query = psprintf("SELECT %s", ij_query_expand(expression, InvalidOid));
	SelectStmt *select = (SelectStmt *) linitial_node(RawStmt, raw_parser(query, RAW_PARSE_DEFAULT))->stmt;
	Node	   *result;

	ij_catalog_become_superuser(&identity);
	addNSItemToQuery(pstate, addRangeTableEntryForRelation(pstate, rel, AccessShareLock, NULL, false, false),
					 false, true, true);
	result = transformWhereClause(pstate, linitial_node(ResTarget, select->targetList)->val,
								  EXPR_KIND_POLICY, "POLICY");
	assign_expr_collations(pstate, result);
	ij_catalog_become_again(&identity);
	free_parsestate(pstate);
	return result;
}

static bool
is_for_everybody(const RowSecurityPolicy *policy)
{
	return policy->polcmd == '*' && ARR_DIMS(policy->roles)[0] == 1 &&
		((Oid *) ARR_DATA_PTR(policy->roles))[0] == ACL_ID_PUBLIC;
}

/* the same expression for what is seen and what is written */
static bool
is_policy(const RowSecurityPolicy *policy, bool permissive, const Node *expression)
{
	return policy->permissive == permissive && is_for_everybody(policy) && equal(policy->qual, expression) &&
		(policy->with_check_qual == NULL || equal(policy->with_check_qual, expression));
}

static bool
has_column(Oid relation, const char *name, Oid type)
{
	AttrNumber	number = get_attnum(relation, name);

	return number > 0 && get_atttype(relation, number) == type;
}

/* the map, if there is one that our text can be read with */
static Oid
find_roles(void)
{
	Oid			result = get_relname_relid("iot_jobs_tenant_roles", get_rel_namespace(ij_catalog_jobs()));

	if (!OidIsValid(result) || !has_column(result, "role_name", NAMEOID) || !has_column(result, "tenant_id", TEXTOID))
		return InvalidOid;
	return result;
}

IjPolicies
ij_policies_find(Relation rel)
{
	IjPolicies	result = {false, InvalidOid};
	Oid			map = find_roles();
	Node	   *of_tenant;
	Node	   *of_login = NULL;
	ListCell   *cell;

	if (rel->rd_rsdesc == NULL || !has_column(RelationGetRelid(rel), "tenant_id", TEXTOID))
		return result;
	of_tenant = parse_policy(rel, ij_policy_of_tenant);
	if (OidIsValid(map))
		of_login = parse_policy(rel, ij_policy_of_login);
	foreach(cell, rel->rd_rsdesc->policies)
	{
		const RowSecurityPolicy *policy = lfirst(cell);

		if (is_policy(policy, true, of_tenant))
			result.known = true;
		else if (of_login != NULL && is_policy(policy, false, of_login))
			result.roles = map;
		else
		{
			result.known = false;
			break;
		}
	}
	return result;
}

/* ------------------------------------------------------------------------
 * The map of roles
 * ------------------------------------------------------------------------
 */

static void
roles_changed(Datum arg, Oid relation)
{
	if (relation == InvalidOid || relation == roles.relation)
		roles.valid = false;
}

/* an ordinary table on which SQL would see the rows of the session's login, and have an index to them */
static void
look_at_roles(Relation rel)
{
	const RowSecurityPolicy *policy;
	List	   *indexes;
	ListCell   *cell;

	roles.relation = RelationGetRelid(rel);
	roles.by_role = InvalidOid;
	roles.role_name = get_attnum(roles.relation, "role_name");
	roles.tenant_id = get_attnum(roles.relation, "tenant_id");
	roles.valid = true;
	if (roles.role_name == InvalidAttrNumber || roles.tenant_id == InvalidAttrNumber)
		return;
	if (rel->rd_rel->relkind != RELKIND_RELATION || rel->rd_rel->relhassubclass || rel->rd_rules != NULL ||
		rel->rd_rsdesc == NULL || list_length(rel->rd_rsdesc->policies) != 1)
		return;
	policy = linitial(rel->rd_rsdesc->policies);
	if (!policy->permissive || !is_for_everybody(policy) ||
		!equal(policy->qual, parse_policy(rel, ij_policy_of_roles)))
		return;
	indexes = RelationGetIndexList(rel);
	foreach(cell, indexes)
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);

		if (index->rd_rel->relam == BTREE_AM_OID && index->rd_index->indisvalid && !index->rd_index->indcheckxmin &&
			index->rd_opfamily[0] == TEXT_BTREE_FAM_OID && index->rd_index->indkey.values[0] == roles.role_name &&
			RelationGetIndexPredicate(index) == NIL)
			roles.by_role = RelationGetRelid(index);
		index_close(index, AccessShareLock);
	}
	list_free(indexes);
}

static bool
is_given(Relation rel, const text *tenant_id)
{
	Snapshot	snapshot = RegisterSnapshot(GetTransactionSnapshot());
	NameData	login;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		result = false;

	namestrcpy(&login, GetUserNameFromId(GetSessionUserId(), false));
	ScanKeyInit(&key, roles.role_name, BTEqualStrategyNumber, F_NAMEEQ, NameGetDatum(&login));
	scan = systable_beginscan(rel, roles.by_role, true, snapshot, 1, &key);
	while (!result && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		Datum		given = heap_getattr(tuple, roles.tenant_id, RelationGetDescr(rel), &isnull);

		/* null: any tenant */
		result = isnull || ij_same_text(DatumGetTextPP(given), tenant_id);
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	return result;
}

static bool
login_may_have(Oid map, const text *tenant_id)
{
	static bool registered = false;
	Relation	rel = table_open(map, AccessShareLock);
	bool		result;

	if (!registered)
	{
		CacheRegisterRelcacheCallback(roles_changed, (Datum) 0);
		registered = true;
	}
	if (!roles.valid || roles.relation != map)
		look_at_roles(rel);
	result = OidIsValid(roles.by_role) && pg_class_aclcheck(map, GetUserId(), ACL_SELECT) == ACLCHECK_OK &&
		is_given(rel, tenant_id);
	table_close(rel, NoLock);
	return result;
}

bool
ij_policies_allow(const IjPolicies *policies, const text *tenant_id)
{
	const char *setting;

	if (!policies->known ||
		row_security_policy_hook_permissive != NULL || row_security_policy_hook_restrictive != NULL)
		return false;
	setting = GetConfigOption("app.tenant_id", true, false);
	return setting != NULL && strlen(setting) == VARSIZE_ANY_EXHDR(tenant_id) &&
		memcmp(setting, VARDATA_ANY(tenant_id), strlen(setting)) == 0 &&
		(!OidIsValid(policies->roles) || login_may_have(policies->roles, tenant_id));
}
