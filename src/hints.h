/*
 * hints.h
 *		Device ids remembered for all sessions: a set-associative cache.
 *
 * A hint may be forgotten at any time, and be out of date: it says where to look
 * first, never what is there.
 */
#ifndef IJ_HINTS_H
#define IJ_HINTS_H

#include "postgres.h"

/*
 * A hint is a device id remembered under a 64-bit key.  A longer id than this
 * many bytes is not remembered, which is always allowed.
 */
#define IJ_HINT_BYTES	128

typedef enum IjHintKind
{
	IJ_HINT_WITNESS,			/* (tenant, job): a device whose execution is known to be open */
	IJ_HINT_SWEEP_PLACE,		/* (tenant, job): where the next batch of a sweep starts */
	IJ_HINT_CLAIM_PLACE			/* (tenant): where the next tenant-wide claim starts */
} IjHintKind;

/* job_id is NULL for a hint about a tenant; returns a palloc'd text, or NULL if nothing is known */
extern text *ij_hint_get(IjHintKind kind, const text *tenant_id, const text *job_id);
extern void ij_hint_set(IjHintKind kind, const text *tenant_id, const text *job_id, const text *device_id);
extern void ij_hint_forget(IjHintKind kind, const text *tenant_id, const text *job_id);

/*
 * The same without an allocation: the hash of the device remembered, as
 * ij_hint_hash() makes it; false if nothing is known.  Once ij_shmem_attach() has
 * returned true neither throws, so that they may be called after a commit.
 */
extern bool ij_hint_peek(IjHintKind kind, const text *tenant_id, const text *job_id, uint64 *device_hash);
extern uint64 ij_hint_hash(const text *value);

/* --- shmem.c: the part of the shared area --- */
extern Size ij_hints_size(void);
extern void ij_hints_init(void *place, int tranche_id, uint64 seed);
extern void ij_hints_attach(void *place);

#endif							/* IJ_HINTS_H */
