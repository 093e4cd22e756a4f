/*
 * module.c
 *		What happens when the library is loaded.
 *
 * With shared_preload_libraries the launcher starts with the server.  Without, the
 * library does all the same, from the first call in a session on; see launcher.c.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"

#include "compat.h"
#include "counters.h"
#include "guc.h"
#include "iot_jobs.h"
#include "launcher.h"
#include "root.h"
#include "shmem.h"

IJ_MODULE_MAGIC("iot_jobs", IJ_VERSION);

static shmem_request_hook_type prev_shmem_request_hook = NULL;
static shmem_startup_hook_type prev_shmem_startup_hook = NULL;

extern PGDLLEXPORT void _PG_init(void);

static void
request_shmem(void)
{
	if (prev_shmem_request_hook)
		prev_shmem_request_hook();
	ij_root_request();
	ij_counters_request();
}

static void
startup_shmem(void)
{
	if (prev_shmem_startup_hook)
		prev_shmem_startup_hook();
	ij_shmem_startup();
	ij_counters_startup();
}

void
_PG_init(void)
{
	ij_guc_define();

	if (!process_shared_preload_libraries_in_progress)
		return;

	prev_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = request_shmem;
	prev_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = startup_shmem;
	ij_launcher_preload();
}
