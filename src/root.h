/*
 * root.h
 *		What we keep in the server's main shared memory.
 *
 * The functions about the launcher are to be called once ij_shmem_attach() has
 * returned true.  None of them throws then, so that they may be called after a commit.
 */
#ifndef IJ_ROOT_H
#define IJ_ROOT_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "storage/dsm.h"
#include "storage/latch.h"
#include "storage/lwlock.h"

typedef struct IjRoot
{
	LWLock		lock;			/* guards all below */
	int			tranche_id;		/* never changes */

	/* shmem.c */
	dsm_handle	area;			/* DSM_HANDLE_INVALID until made */
	bool		complained;		/* that there is no area */

	/* the launcher */
	pid_t		launcher_pid;	/* 0: none; read without lock too */
	Latch	   *launcher_latch;
	bool		launcher_preloaded;
	bool		register_failed;	/* and that was logged */
	TimestampTz registered_at;	/* when a launcher was last asked for */
} IjRoot;

/* for shmem.c, which is the way to it for all others; NULL until ij_root_startup() */
extern IjRoot *ij_root;

extern void ij_root_request(void);

/* find it or make it; an error if those who made it had another layout in mind */
extern void ij_root_startup(uint64 layout);

/* a process that cannot attach adds executions: nobody may rely on being told of all any more */
extern void ij_root_note_unattached(void);
extern bool ij_root_some_unattached(void);

extern void ij_root_wake_launcher(void);
extern bool ij_root_launcher_running(bool *preloaded);

/* no launcher lives and none was registered lately: note that the caller registers one now */
extern bool ij_root_may_register_launcher(TimestampTz now);

/* is this the first failure since the last success?  for messages that must not repeat */
extern bool ij_root_note_register(bool success);

extern bool ij_root_launcher_enter(bool preloaded);	/* false: another one lives */
extern void ij_root_launcher_leave(void);

#endif							/* IJ_ROOT_H */
