/*
 * report_batch.h
 *		A gateway's batch of reports: JSON in, one outcome for each out.
 */
#ifndef IJ_REPORT_BATCH_H
#define IJ_REPORT_BATCH_H

#include "executions.h"

#define IJ_REPORT_OUTCOME_COLUMNS	8

#define IJ_REPORTABLE_HINT \
	"A device reports IN_PROGRESS, SUCCEEDED, FAILED or REJECTED."

typedef struct IjBatchReport
{
	int			number;			/* place in the batch, from 1 */
	const char *complaint;		/* why it is malformed; NULL if it is not */
	IjReport	report;			/* if there is a complaint, what could be read of it; NULL: not that */
	IjOutcome	outcome;
	IjExecution now;			/* unless it is malformed, or not found */
} IjBatchReport;

/* NULL, or why a device cannot report this status */
extern const char *ij_report_parse_status(const text *word, IjExecStatus *status);

/* 22023 if it is not an array of reports, or too long a one */
extern IjBatchReport *ij_report_batch_read(const text *tenant_id, Jsonb *reports, int *count);

extern void ij_report_batch_apply(const text *tenant_id, IjBatchReport *reports, int count);

/* the columns of job_execution_report_outcome */
extern void ij_report_batch_values(const IjBatchReport *report, Datum *values, bool *nulls);

#endif							/* IJ_REPORT_BATCH_H */
