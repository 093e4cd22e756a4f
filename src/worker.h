/*
 * worker.h
 *		The process that does the work of one database.
 */
#ifndef IJ_WORKER_H
#define IJ_WORKER_H

#include "postgres.h"

#include "fmgr.h"

/* main_arg is the OID of the database */
extern PGDLLEXPORT void ij_worker_main(Datum main_arg);

#endif							/* IJ_WORKER_H */
