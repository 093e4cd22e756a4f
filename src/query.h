/*
 * query.h
 *		Run the statements of statements.h.
 */
#ifndef IJ_QUERY_H
#define IJ_QUERY_H

#include "postgres.h"

#include "executor/spi.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"

#include "rows.h"
#include "statements.h"

/* arguments of one call */
typedef struct IjArgs
{
	int			count;
	Datum		values[IJ_MAX_ARGS];
	char		nulls[IJ_MAX_ARGS];
} IjArgs;

/* add an argument; a NULL pointer is a null */
extern void ij_arg(IjArgs *args, Datum value, bool isnull);
extern void ij_arg_text(IjArgs *args, const text *value);
extern void ij_arg_jsonb(IjArgs *args, const Jsonb *value);
extern void ij_arg_word(IjArgs *args, const char *word);
extern void ij_arg_limit(IjArgs *args, int64 limit);
extern void ij_arg_timestamp(IjArgs *args, bool present, TimestampTz value);
extern void ij_arg_from(IjArgs *args, const text *from);
extern void ij_arg_texts(IjArgs *args, const Datum *texts, int count);
extern void ij_arg_statuses(IjArgs *args, int statuses);

/* what a statement sees; but for the caller's snapshot, our own changes, too */
typedef enum IjSight
{
	IJ_SEES_NOW,				/* what is committed now, or when an old snapshot was taken */
	IJ_SEES_AS_CALLER,			/* as a STABLE function must */
	IJ_SEES_LATEST				/* what is committed now, whatever the isolation: for guards */
} IjSight;

/*
 * Between begin and end statements may be run; the rows of the last one are there
 * until the next.
 */
extern void ij_query_begin(void);
extern void ij_query_end(void);
extern char *ij_query_expand(const char *text, Oid registry);
extern SPIPlanPtr ij_query_plan(IjStatement id, Oid registry);
extern uint64 ij_query_run(IjStatement id, Oid registry, IjArgs *args, IjSight sight);
extern uint64 ij_query_execute(IjStatement id, IjArgs *args);

/* row i of the last result */
#define IJ_QUERY_ROW(i) \
	(&(const IjRow){.desc = SPI_tuptable->tupdesc, .tuple = SPI_tuptable->vals[i]})

/* read a row into a struct, in the current memory context */
typedef void (*IjRowReader) (const IjRow *row, void *result);

/* one column of type text, into a text * */
extern void ij_query_read_text(const IjRow *row, void *result);

/* the rows of the last result, as structs of this size in that memory context */
extern List *ij_query_read_rows(MemoryContext caller, size_t size, IjRowReader reader);

/*
 * Begin, run and end: how many rows it found or changed; or read the first, or all, in
 * the caller's memory context.
 */
extern uint64 ij_query_alone(IjStatement id, IjArgs *args);
extern bool ij_query_fetch_one(IjStatement id, IjArgs *args, IjSight sight, IjRowReader reader, void *result);
extern List *ij_query_fetch_all(IjStatement id, IjArgs *args, IjSight sight, size_t size, IjRowReader reader);

#endif							/* IJ_QUERY_H */
