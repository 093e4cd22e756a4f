/*
 * shmem.h
 *		The memory that backends, the launcher and the workers share.
 *
 * Everything in it is a hint or a statistic: losing it costs a sweep, never a
 * result.  What is in it is in databases.h, told.h and hints.h; how to get at it,
 * and whether a launcher lives, is here.
 */
#ifndef IJ_SHMEM_H
#define IJ_SHMEM_H

#include "postgres.h"

#include "datatype/timestamp.h"

/* --- module.c: when preloading --- */
extern void ij_shmem_request(void);
extern void ij_shmem_startup(void);

/* attach to (or create) the shared area; false, once logged, if there is none to be had */
extern bool ij_shmem_attach(void);

/*
 * The rest is to be called once that has returned true.  None of it throws then, so
 * that it may be called after a commit.
 */

/* a launcher lives and this database is known to it: two reads of memory; needs no attach */
extern bool ij_shmem_all_well(void);

extern void ij_shmem_wake_launcher(void);
extern bool ij_shmem_launcher_running(bool *preloaded);

/* no launcher lives and none was registered lately: note that the caller registers one now */
extern bool ij_shmem_may_register_launcher(TimestampTz now);

/* is this the first failure since the last success?  for messages that must not repeat */
extern bool ij_shmem_note_register(bool success);

extern bool ij_shmem_launcher_enter(bool preloaded);	/* false: another one lives */
extern void ij_shmem_launcher_leave(void);

#endif							/* IJ_SHMEM_H */
