/*
 * launcher.h
 *		The one process that decides which databases have a worker.
 */
#ifndef IJ_LAUNCHER_H
#define IJ_LAUNCHER_H

#include "postgres.h"

#include "fmgr.h"

/* from _PG_init() in the postmaster */
extern void ij_launcher_preload(void);

/*
 * Make sure that a launcher runs, and that it knows this database.  Cheap when all
 * is well, never fails, may be called in any transaction.  Does nothing on a
 * standby.
 */
extern void ij_launcher_ensure(void);

/*
 * Does somebody hold a lock on this database that a connection to it hinders: to
 * drop, rename, move or copy it?  Needs no transaction, takes no lock.
 */
extern bool ij_launcher_database_in_demand(Oid dboid);

extern PGDLLEXPORT void ij_launcher_main(Datum main_arg);

#endif							/* IJ_LAUNCHER_H */
