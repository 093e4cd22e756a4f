/*
 * guc.h
 *		The settings iot_jobs.*; only guc.c defines them.
 */
#ifndef IJ_GUC_H
#define IJ_GUC_H

#include "postgres.h"

/* worker */
extern bool ij_guc_worker_enabled;	/* sighup; on */
extern int	ij_guc_max_workers;		/* sighup; workers at once, over all databases; 4 */
extern int	ij_guc_worker_idle_timeout; /* sighup; s; a worker with nothing to do leaves after this; 60 */
extern int	ij_guc_sweep_batch_rows;	/* sighup; rows one sweep transaction may change; 1000 */
extern int	ij_guc_heal_interval;	/* sighup; s; look at every unfinished job this often if anything was written; 300; 0 never */

/* input limits */
extern int	ij_guc_max_document_bytes;	/* superuser; bytes of text of document_params; 32 kB */
extern int	ij_guc_max_status_details_bytes;	/* superuser; the same for status_details; 32 kB */

extern void ij_guc_define(void);

#endif							/* IJ_GUC_H */
