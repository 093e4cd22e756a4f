/*
 * state.c
 *		A status is what its name says, and a step is legal if the table has it.
 */
#include <assert.h>
#include <string.h>

#include "../src/state.h"

extern int	LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static bool
in_table(const IjStep *steps, int count, int from, int to, int by)
{
	bool		found = false;

	for (int i = 0; i < count; i++)
		found |= steps[i].from == from && steps[i].to == to && (steps[i].by & by) != 0;
	return found;
}

int
LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	const char *name = (const char *) data;
	IjJobStatus job;
	IjExecStatus exec;
	int			count;

	if (ij_job_status_parse(name, size, &job))
		assert(strlen(ij_job_status_name(job)) == size && memcmp(ij_job_status_name(job), name, size) == 0);
	if (ij_exec_status_parse(name, size, &exec))
		assert(strlen(ij_exec_status_name(exec)) == size && memcmp(ij_exec_status_name(exec), name, size) == 0);
	if (size == 3)
	{
		int			from = data[0] % IJ_JOB_STATUSES;
		int			to = data[1] % IJ_JOB_STATUSES;
		const IjStep *steps = ij_job_steps(&count);

		assert(ij_job_step_allowed(from, to, data[2]) == in_table(steps, count, from, to, data[2]));
		from = data[0] % IJ_EXEC_STATUSES;
		to = data[1] % IJ_EXEC_STATUSES;
		steps = ij_exec_steps(&count);
		assert(ij_exec_step_allowed(from, to, data[2]) == in_table(steps, count, from, to, data[2]));
		/* what has ended stays ended, whoever asks */
		assert(ij_exec_is_open(from) || !ij_exec_step_allowed(from, to, data[2]));
		assert(!ij_exec_step_allowed(from, to, data[2]) || ij_exec_reportable(to, data[2]));
	}
	return 0;
}
