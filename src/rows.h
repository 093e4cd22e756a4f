/*
 * rows.h
 *		Between the rows of a result, or of a table, and the structs of iot_jobs.h.
 */
#ifndef IJ_ROWS_H
#define IJ_ROWS_H

#include "iot_jobs.h"

#include "access/attnum.h"
#include "executor/tuptable.h"

/* a row to be read */
typedef struct IjRow
{
	TupleDesc	desc;
	HeapTuple	tuple;			/* of a result */
	TupleTableSlot *slot;		/* or of a table, unless it is NULL */
	const AttrNumber *columns;	/* where it has those of the struct; NULL: in that order */
} IjRow;

/* how many columns each struct takes in a result */
#define IJ_JOB_COLUMNS			12
#define IJ_COUNT_COLUMNS		7
#define IJ_EXECUTION_COLUMNS	9
#define IJ_DOCUMENT_COLUMNS		(IJ_EXECUTION_COLUMNS + 3)

/* read the first columns into a struct (see IjRowReader), copying into the current memory context */
extern void ij_rows_read_job(const IjRow *row, void *job);
extern void ij_rows_read_counts(const IjRow *row, void *counts);
extern void ij_rows_read_execution(const IjRow *row, void *execution);
extern void ij_rows_read_document(const IjRow *row, void *document);

/* fill in that many columns */
extern void ij_rows_job_values(const IjJob *job, Datum *values, bool *nulls);
extern void ij_rows_counts_values(const IjCounts *counts, Datum *values, bool *nulls);
extern void ij_rows_execution_values(const IjExecution *execution, Datum *values, bool *nulls);
extern void ij_rows_document_values(const IjExecutionDocument *document, Datum *values, bool *nulls);

/* single columns: a text; an id, which is an error if it is null; a time, 0 and false if it is */
extern text *ij_rows_text(const IjRow *row, int number);
extern text *ij_rows_id(const IjRow *row, int number);
extern bool ij_rows_timestamp(const IjRow *row, int number, TimestampTz *result);

/* an error unless this column of a row is of that type, or of a domain over it */
extern void ij_rows_check_type(TupleDesc desc, int number, Oid type);

/* a status word of a row; an error if it is null or none of ours, which the constraints exclude */
extern IjJobStatus ij_rows_job_status(const text *word);
extern IjExecStatus ij_rows_exec_status(const text *word);

#endif							/* IJ_ROWS_H */
