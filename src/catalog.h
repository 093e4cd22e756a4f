/*
 * catalog.h
 *		Where the extension lives in this database.
 */
#ifndef IJ_CATALOG_H
#define IJ_CATALOG_H

#include "postgres.h"

#include "fmgr.h"

/* the schema of the extension, quoted for use in SQL; valid until the next ij_catalog_use/find */
extern const char *ij_catalog_schema(void);

/*
 * Enter a function of the extension: its own schema is the schema of the tables.
 * ERROR 55000 if the SQL objects are of a version that this library does not serve.
 */
extern void ij_catalog_use(FunctionCallInfo fcinfo);

/* the same for who tells of such a thing rather than failing */
extern void ij_catalog_use_any_version(FunctionCallInfo fcinfo);

typedef enum IjPresence
{
	IJ_ABSENT,					/* this database does not have the extension */
	IJ_INCOMPLETE,				/* it lacks a table or a guard, as in the middle of a restore */
	IJ_READY
} IjPresence;

/*
 * The same from a worker, which was not called by a function.  Takes a lock that
 * keeps the extension from being dropped until the end of the transaction.
 */
extern IjPresence ij_catalog_find(void);
extern void ij_catalog_check_version(void); /* the ERROR of ij_catalog_use() */

extern Oid	ij_catalog_jobs(void);	/* OID of the table jobs; ERROR 42P01 if there is none */
extern Oid	ij_catalog_executions(void);
extern Oid	ij_catalog_tenants(void);	/* InvalidOid: the host has no such table */

/*
 * Act as the owner of both tables (of one, if a member of the other), restricted, and
 * bound by no policy, as a foreign key check does.  An error in between is undone by the
 * abort.
 */
typedef struct IjIdentity
{
	Oid			user;
	int			context;
} IjIdentity;

extern void ij_catalog_become_owner(IjIdentity *saved);
extern void ij_catalog_become_superuser(IjIdentity *saved);	/* where nothing of anybody's is run */
extern void ij_catalog_become_owner_of(Oid relation, IjIdentity *saved);	/* of one of them, whoever owns the other */
extern void ij_catalog_become_again(const IjIdentity *saved);

#endif							/* IJ_CATALOG_H */
