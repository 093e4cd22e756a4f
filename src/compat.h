/*
 * compat.h
 *		The only place that knows server versions: PostgreSQL 15 to 18.
 *
 * Each wrapper has the newest server's shape, so that an old version is dropped by
 * deleting lines here and nowhere else.
 */
#ifndef IJ_COMPAT_H
#define IJ_COMPAT_H

#include "postgres.h"

#include "fmgr.h"
#include "storage/proc.h"
#include "utils/wait_event.h"

/* 18: a module may carry its name and version */
#if PG_VERSION_NUM >= 180000
#define IJ_MODULE_MAGIC(module_name, module_version) \
	PG_MODULE_MAGIC_EXT(.name = (module_name), .version = (module_version))
#else
#define IJ_MODULE_MAGIC(module_name, module_version)	PG_MODULE_MAGIC
#endif

/* 17: an extension may name its own wait events; before, all share one name */
#if PG_VERSION_NUM >= 170000
#define ij_wait_event_new(event_name)	WaitEventExtensionNew(event_name)
#else
#define ij_wait_event_new(event_name)	((uint32) PG_WAIT_EXTENSION)
#endif

/* 17: the local transaction id moved into a struct of PGPROC */
static inline LocalTransactionId
ij_my_local_transaction_id(void)
{
#if PG_VERSION_NUM >= 170000
	return MyProc->vxid.lxid;
#else
	return MyProc->lxid;
#endif
}

#endif							/* IJ_COMPAT_H */
