/*
 * report_batch.c
 *		A gateway's batch of reports: JSON in, one outcome for each out.
 *
 * One bad report must not spoil the rest, and a subtransaction for each would cost
 * every reader on the server; so a malformed report is found while reading, before
 * anything is done, and what is wrong with a well-formed one comes back from
 * ij_execution_report() as an outcome, not as an error.
 *
 * Lock order: the reports are applied by (job, device), whatever order the gateway
 * sent them in, so two batches cannot deadlock.  Reports of the same execution keep
 * their order.
 */
#include "postgres.h"

#include "report_batch.h"

#include "catalog/pg_collation_d.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"

#include "catalog.h"
#include "errors.h"
#include "validate.h"

/* reports in one call; what one transaction of a gateway can reasonably hold */
#define MAX_REPORTS		10000

const char *
ij_report_parse_status(const text *word, IjExecStatus *status)
{
	if (!ij_exec_status_parse(VARDATA_ANY(word), VARSIZE_ANY_EXHDR(word), status))
		return psprintf("\"%s\" is not a status of an execution",
						text_to_cstring(word));
	if (!ij_exec_reportable(*status, IJ_BY_DEVICE))
		return psprintf("a device cannot report %s", ij_exec_status_name(*status));
	return NULL;
}

/* ------------------------------------------------------------------------
 * Read
 * ------------------------------------------------------------------------
 */

static JsonbValue *
field(JsonbContainer *report, const char *name, JsonbValue *value)
{
	value = getKeyJsonValueFromContainer(report, name, strlen(name), value);
	return value == NULL || value->type == jbvNull ? NULL : value;
}

/* A field that must be a string; *complaint is set if it is not. */
static text *
string_field(JsonbContainer *report, const char *name, const char **complaint)
{
	JsonbValue	buffer;
	JsonbValue *value = field(report, name, &buffer);

	if (value != NULL && value->type == jbvString)
		return cstring_to_text_with_len(value->val.string.val, value->val.string.len);
	if (*complaint == NULL)
		*complaint = psprintf(value == NULL ? "report has no \"%s\"" : "\"%s\" of the report is not a string", name);
	return NULL;
}

/*
 * The expected number, given as a number or, as MQTT clients like to, as a string.
 */
static const char *
expected_field(JsonbContainer *fields, IjReport *report)
{
	const char *complaint = "\"expected_execution_number\" of the report is not a whole number";
	JsonbValue	buffer;
	JsonbValue *value = field(fields, "expected_execution_number", &buffer);
	char	   *digits;
	char	   *end;

	if (value == NULL)
		return NULL;
	if (value->type == jbvString)
		digits = pnstrdup(value->val.string.val, value->val.string.len);
	else if (value->type == jbvNumeric)
		digits = numeric_normalize(value->val.numeric);
	else
		return complaint;

	/* the longest int64 has 20 characters */
	if (strlen(digits) > 0 && strlen(digits) <= 20 && !isspace((unsigned char) digits[0]))
	{
		errno = 0;
		report->expected_number = strtoi64(digits, &end, 10);
		report->expects = (errno == 0 && *end == '\0');
	}
	/* a number of a few characters may have 130,000 digits, and there are many reports */
	pfree(digits);
	return report->expects ? NULL : complaint;
}

static const char *
details_field(JsonbContainer *fields, IjReport *report)
{
	JsonbValue	buffer;
	JsonbValue *value = field(fields, "status_details", &buffer);

	if (value == NULL)
		return NULL;
	report->status_details = JsonbValueToJsonb(value);
	return ij_validate_status_details_complaint(report->status_details);
}

static void
read_report(JsonbValue *element, IjBatchReport *batch)
{
	JsonbContainer *fields;
	text	   *status;

	if (element->type != jbvBinary || !JsonContainerIsObject(element->val.binary.data))
	{
		batch->complaint = "report is not a JSON object";
		return;
	}
	fields = element->val.binary.data;
	batch->report.job_id = string_field(fields, "job_id", &batch->complaint);
	batch->report.device_id = string_field(fields, "device_id", &batch->complaint);
	status = string_field(fields, "status", &batch->complaint);
	if (batch->complaint == NULL)
		batch->complaint = ij_validate_id_complaint("job_id", batch->report.job_id);
	if (batch->complaint == NULL)
		batch->complaint = ij_validate_id_complaint("device_id", batch->report.device_id);
	if (batch->complaint == NULL)
		batch->complaint = ij_report_parse_status(status, &batch->report.status);
	if (batch->complaint == NULL)
		batch->complaint = details_field(fields, &batch->report);
	if (batch->complaint == NULL)
		batch->complaint = expected_field(fields, &batch->report);
}

IjBatchReport *
ij_report_batch_read(const text *tenant_id, Jsonb *reports, int *count)
{
	IjBatchReport *result;
	JsonbIterator *iterator;
	JsonbValue	element;
	JsonbIteratorToken token;
	int			number = 0;

	if (!JB_ROOT_IS_ARRAY(reports) || JB_ROOT_IS_SCALAR(reports))
		ij_error_bad_argument("argument \"reports\" is not a JSON array", NULL,
							  "Give an array of objects with job_id, device_id, status and, if wanted, status_details and expected_execution_number.");
	*count = JB_ROOT_COUNT(reports);
	if (*count > MAX_REPORTS)
		ij_error_bad_argument("too many reports in one call",
							  psprintf("There are %d.", *count),
							  psprintf("At most %d are taken.", MAX_REPORTS));

	result = palloc0(Max(*count, 1) * sizeof(IjBatchReport));
	iterator = JsonbIteratorInit(&reports->root);
	while ((token = JsonbIteratorNext(&iterator, &element, true)) != WJB_DONE)
	{
		if (token != WJB_ELEM)
			continue;
		result[number].number = number + 1;
		result[number].report.tenant_id = tenant_id;
		read_report(&element, &result[number]);
		number++;
	}
	Assert(number == *count);
	return result;
}

/* ------------------------------------------------------------------------
 * Apply
 * ------------------------------------------------------------------------
 */

/* the order of the primary key, in which everybody locks executions */
typedef struct KeyOrder
{
	Oid			job_id;			/* collations */
	Oid			device_id;
} KeyOrder;

static Oid
collation_of(Oid relation, const char *column)
{
	AttrNumber	number = get_attnum(relation, column);
	Oid			type;
	int32		typmod;
	Oid			collation = InvalidOid;

	if (number != InvalidAttrNumber)
		get_atttypetypmodcoll(relation, number, &type, &typmod, &collation);
	/* if it is not as it should be, there will be an error that says so */
	return OidIsValid(collation) ? collation : DEFAULT_COLLATION_OID;
}

static int
compare_reports(const void *a, const void *b, void *arg)
{
	const IjBatchReport *left = *(IjBatchReport *const *) a;
	const IjBatchReport *right = *(IjBatchReport *const *) b;
	const KeyOrder *order = arg;
	int			result = ij_compare_text(left->report.job_id, right->report.job_id, order->job_id);

	if (result == 0)
		result = ij_compare_text(left->report.device_id, right->report.device_id, order->device_id);
	return result != 0 ? result : left->number - right->number;
}

void
ij_report_batch_apply(const text *tenant_id, IjBatchReport *reports, int count)
{
	IjBatchReport **sound = palloc(Max(count, 1) * sizeof(IjBatchReport *));
	IjChanges  *changes;
	KeyOrder	order;
	int			n = 0;

	for (int i = 0; i < count; i++)
	{
		if (reports[i].complaint == NULL)
			sound[n++] = &reports[i];
	}
	if (n == 0)
		return;
	order.job_id = collation_of(ij_catalog_executions(), "job_id");
	order.device_id = collation_of(ij_catalog_executions(), "device_id");
	qsort_arg(sound, n, sizeof(IjBatchReport *), compare_reports, &order);
	changes = ij_store_begin_changes(tenant_id);
	for (int i = 0; i < n; i++)
		sound[i]->outcome = ij_execution_report(changes, &sound[i]->report, &sound[i]->now);
	ij_store_end_changes(changes);
}

/* ------------------------------------------------------------------------
 * Outcome
 * ------------------------------------------------------------------------
 */

static const char *
outcome_message(const IjBatchReport *batch)
{
	switch (batch->outcome)
	{
		case IJ_OUTCOME_ACCEPTED:
			break;
		case IJ_OUTCOME_NOT_FOUND:
			return "execution not found";
		case IJ_OUTCOME_STEP_NOT_ALLOWED:
			return psprintf("execution cannot go from %s to %s",
							ij_exec_status_name(batch->now.status),
							ij_exec_status_name(batch->report.status));
		case IJ_OUTCOME_NUMBER_MISMATCH:
			return psprintf("execution has execution_number " INT64_FORMAT ", not " INT64_FORMAT,
							batch->now.execution_number, batch->report.expected_number);
	}
	return NULL;
}

static const char *
outcome_sqlstate(const IjBatchReport *batch)
{
	static const int codes[] = {
		[IJ_OUTCOME_ACCEPTED] = ERRCODE_SUCCESSFUL_COMPLETION,
		[IJ_OUTCOME_NOT_FOUND] = IJ_ERRCODE_NOT_FOUND,
		[IJ_OUTCOME_STEP_NOT_ALLOWED] = IJ_ERRCODE_STEP_NOT_ALLOWED,
		[IJ_OUTCOME_NUMBER_MISMATCH] = IJ_ERRCODE_NUMBER_MISMATCH,
	};

	return unpack_sql_state(batch->complaint ? ERRCODE_INVALID_PARAMETER_VALUE : codes[batch->outcome]);
}

static void
text_value(const char *string, Datum *value, bool *isnull)
{
	*isnull = (string == NULL);
	*value = string ? CStringGetTextDatum(string) : (Datum) 0;
}

void
ij_report_batch_values(const IjBatchReport *batch, Datum *values, bool *nulls)
{
	bool		known = (batch->complaint == NULL && batch->outcome != IJ_OUTCOME_NOT_FOUND);

	memset(nulls, 0, IJ_REPORT_OUTCOME_COLUMNS * sizeof(bool));
	values[0] = Int32GetDatum(batch->number);
	values[1] = PointerGetDatum(batch->report.job_id);
	nulls[1] = (batch->report.job_id == NULL);
	values[2] = PointerGetDatum(batch->report.device_id);
	nulls[2] = (batch->report.device_id == NULL);
	values[3] = BoolGetDatum(batch->complaint == NULL && batch->outcome == IJ_OUTCOME_ACCEPTED);
	text_value(outcome_sqlstate(batch), &values[4], &nulls[4]);
	text_value(batch->complaint ? batch->complaint : outcome_message(batch), &values[5], &nulls[5]);
	text_value(known ? ij_exec_status_name(batch->now.status) : NULL, &values[6], &nulls[6]);
	values[7] = Int64GetDatum(batch->now.execution_number);
	nulls[7] = !known;
}
