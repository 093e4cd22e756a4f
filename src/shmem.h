/*
 * shmem.h
 *		The memory that backends, the launcher and the workers share.
 *
 * Everything in it is a hint or a statistic: losing it costs a sweep, never a
 * result.  What is in it is in databases.h, told.h, hints.h and marks.h; how to get at
 * it is here.
 */
#ifndef IJ_SHMEM_H
#define IJ_SHMEM_H

#include "postgres.h"

#include "datatype/timestamp.h"

/* what the server calls at its start, and again after a crash */
extern void ij_shmem_startup(void);

/* attach to (or create) the shared area; false, once logged, if there is none to be had */
extern bool ij_shmem_attach(void);

/* a launcher lives and this database is known to it: two reads of memory; needs no attach */
extern bool ij_shmem_all_well(void);

#endif							/* IJ_SHMEM_H */
