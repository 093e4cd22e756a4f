/*
 * direct_insert.h
 *		The executions of a new job without SQL, where that is provably the same.
 *
 * Everything between begin and end is one command of the transaction.
 */
#ifndef IJ_DIRECT_INSERT_H
#define IJ_DIRECT_INSERT_H

#include "postgres.h"

typedef struct IjInsertion IjInsertion;

/* NULL: SQL might do something else; the caller sends the statement through SPI instead */
extern IjInsertion *ij_direct_insert_begin(const text *tenant_id, const text *job_id);

/* add QUEUED executions for these devices, which come in index order */
extern void ij_direct_insert_rows(IjInsertion *insertion, const Datum *device_ids, int count);
extern void ij_direct_insert_end(IjInsertion *insertion);

#endif							/* IJ_DIRECT_INSERT_H */
