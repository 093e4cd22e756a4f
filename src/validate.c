/*
 * validate.c
 *		Refuse bad input at the door.
 *
 * Every check first makes a complaint, which is only strings, and a thin wrapper
 * raises it.  A batch of reports takes the complaint instead, because an error
 * would cost the good reports of the batch, and a subtransaction for each report
 * would cost more than the report.
 *
 * Nothing here reads a table or holds a lock.
 */
#include "postgres.h"

#include "access/xact.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "bytes.h"
#include "errors.h"
#include "guc.h"
#include "iot_jobs.h"
#include "jsonb_text.h"
#include "validate.h"

/* an age longer than this is a mistake; far below what cannot be subtracted from now */
#define MAX_AGE_YEARS	1000

/* what is wrong with a value, for errmsg, errdetail and errhint */
typedef struct Complaint
{
	char	   *message;		/* NULL: nothing is wrong */
	char	   *detail;
	const char *hint;
} Complaint;

static Complaint complain_about_text(const char *argument, const text *value, int max_chars);
static Complaint complain_about_size(const char *argument, const Jsonb *value, int limit,
									 const char *hint);
static Complaint complain_about_details(const char *argument, const Jsonb *value);
static const char *json_kind(const Jsonb *value);

static void
raise_complaint(const Complaint *complaint)
{
	if (complaint->message != NULL)
		ij_error_bad_argument(complaint->message, complaint->detail, complaint->hint);
}

/* ----------------------------------------------------------------
 * Ids and other short texts
 * ----------------------------------------------------------------
 */

void
ij_validate_id(const char *argument, const text *value)
{
	Complaint	complaint;

	if (value == NULL)
		ij_error_null_argument(argument);
	complaint = complain_about_text(argument, value, IJ_MAX_ID_CHARS);
	raise_complaint(&complaint);
}

const char *
ij_validate_id_complaint(const char *argument, const text *value)
{
	return complain_about_text(argument, value, IJ_MAX_ID_CHARS).message;
}

void
ij_validate_document_type(const text *value)
{
	Complaint	complaint;

	if (value == NULL)
		ij_error_null_argument("document_type");
	complaint = complain_about_text("document_type", value, IJ_MAX_DOCUMENT_TYPE_CHARS);
	raise_complaint(&complaint);
}

/*
 * Whatever text holds is valid in the encoding of the server; what is left to
 * ask is how long it is, and whether somebody who reads it sees what it is.
 */
static Complaint
complain_about_text(const char *argument, const text *value, int max_chars)
{
	Complaint	complaint = {NULL, NULL, NULL};
	const char *p = VARDATA_ANY(value);
	const char *end = p + VARSIZE_ANY_EXHDR(value);
	int			chars = 0;

	if (p == end)
		complaint.message = psprintf("argument \"%s\" must not be empty", argument);

	while (p < end && chars < max_chars && complaint.message == NULL)
	{
		uint32_t	c = 0;
		size_t		size;

		chars++;
		/* a fan-out asks this of a million ids, which are ASCII as a rule */
		if (*p >= ' ' && *p <= '~')
		{
			p++;
			continue;
		}
		size = ij_bytes_utf8(p, end - p, &c);
		if (size == 0 || !ij_bytes_printable(c))
		{
			complaint.message = psprintf("argument \"%s\" has a character that cannot be printed", argument);
			complaint.detail = psprintf("Character %d is U+%04X.", chars, (unsigned int) c);
		}
		p += size;
	}

	if (p < end && complaint.message == NULL)
	{
		complaint.message = psprintf("argument \"%s\" is too long", argument);
		complaint.detail = psprintf("It has %d characters.",
									pg_mbstrlen_with_len(VARDATA_ANY(value),
														 VARSIZE_ANY_EXHDR(value)));
	}

	if (complaint.message != NULL)
		complaint.hint = psprintf("Use 1 to %d characters, none of them a control character.", max_chars);
	return complaint;
}

/* ----------------------------------------------------------------
 * Documents
 * ----------------------------------------------------------------
 */

void
ij_validate_document(const char *argument, const Jsonb *value)
{
	Complaint	complaint;

	if (value == NULL)
		ij_error_null_argument(argument);
	complaint = complain_about_size(argument, value, ij_guc_max_document_bytes,
									"The setting iot_jobs.max_document_bytes is the limit.");
	raise_complaint(&complaint);
}

void
ij_validate_status_details(const char *argument, const Jsonb *value)
{
	Complaint	complaint = complain_about_details(argument, value);

	raise_complaint(&complaint);
}

const char *
ij_validate_status_details_complaint(const Jsonb *value)
{
	return complain_about_details("status_details", value).message;
}

static Complaint
complain_about_details(const char *argument, const Jsonb *value)
{
	Complaint	complaint = {NULL, NULL, NULL};

	if (value == NULL)
		return complaint;
	if (!JB_ROOT_IS_OBJECT(value))
	{
		complaint.message = psprintf("argument \"%s\" must be a JSON object", argument);
		complaint.detail = psprintf("It is of type %s.", json_kind(value));
		complaint.hint = "Give an object such as {\"message\": \"done\"}.";
		return complaint;
	}
	return complain_about_size(argument, value, ij_guc_max_status_details_bytes,
							   "The setting iot_jobs.max_status_details_bytes is the limit.");
}

static Complaint
complain_about_size(const char *argument, const Jsonb *value, int limit, const char *hint)
{
	Complaint	complaint = {NULL, NULL, NULL};

	if (ij_jsonb_text_exceeds(value, limit))
	{
		complaint.message = psprintf("argument \"%s\" is too large", argument);
		complaint.detail = psprintf("Its text form has more than %d bytes.", limit);
		complaint.hint = hint;
	}
	return complaint;
}

/* the type of a JSON value that is no object, by the names of jsonb_typeof() */
static const char *
json_kind(const Jsonb *value)
{
	JsonbValue	scalar;

	if (!JB_ROOT_IS_SCALAR(value))
		return "array";
	(void) JsonbExtractScalar((JsonbContainer *) &value->root, &scalar);
	switch (scalar.type)
	{
		case jbvNull:
			return "null";
		case jbvString:
			return "string";
		case jbvNumeric:
			return "number";
		case jbvBool:
			return "boolean";
		default:
			elog(ERROR, "unexpected type of jsonb scalar: %d", (int) scalar.type);
	}
}

/* ----------------------------------------------------------------
 * Moments
 * ----------------------------------------------------------------
 */

/*
 * Against the clock, not the start of the transaction: a deadline that passed
 * while the transaction ran is as useless as one that passed before.
 */
void
ij_validate_expiry(TimestampTz value)
{
	TimestampTz now = GetCurrentTimestamp();
	Interval	horizon = {.month = IJ_MAX_EXPIRY_YEARS * MONTHS_PER_YEAR};
	TimestampTz latest = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
																 TimestampTzGetDatum(now),
																 IntervalPGetDatum(&horizon)));

	if (TIMESTAMP_NOT_FINITE(value))
		ij_error_bad_argument("argument \"expires_at\" must be finite", NULL,
							  "Leave expires_at out for a job that never expires.");
	if (value <= now)
		ij_error_bad_argument("argument \"expires_at\" must be in the future",
							  psprintf("It is %s.", timestamptz_to_str(value)),
							  psprintf("Give a moment after now and at most %d years ahead.",
									   IJ_MAX_EXPIRY_YEARS));
	if (value > latest)
		ij_error_bad_argument("argument \"expires_at\" is too far in the future",
							  psprintf("It is %s.", timestamptz_to_str(value)),
							  psprintf("Give a moment after now and at most %d years ahead.",
									   IJ_MAX_EXPIRY_YEARS));
}

/* < 0, 0, > 0, and no overflow whatever the fields are */
static int
interval_sign(const Interval *interval)
{
	Interval	zero = {0};

	return DatumGetInt32(DirectFunctionCall2(interval_cmp, IntervalPGetDatum(interval),
											 IntervalPGetDatum(&zero)));
}

static double
interval_years(const Interval *interval)
{
	return (double) interval->month / MONTHS_PER_YEAR +
		(double) interval->day / DAYS_PER_YEAR +
		(double) interval->time / ((double) USECS_PER_DAY * DAYS_PER_YEAR);
}

/*
 * Counted from the start of the transaction, which is the created_at of a job.  What
 * is too long is refused before it is added to anything, which could overflow.
 */
TimestampTz
ij_validate_expires_in(const Interval *value)
{
	TimestampTz result;
	const char *const positive = "argument \"expires_in\" must be positive";
	const char *const leave_out = "Leave expires_in out for a job that never expires.";

	if (interval_sign(value) <= 0)
		ij_error_bad_argument(positive, NULL, leave_out);
	if (interval_years(value) > IJ_MAX_EXPIRY_YEARS)
		ij_error_bad_argument("argument \"expires_in\" is too long", NULL,
							  psprintf("A job expires at most %d years ahead.", IJ_MAX_EXPIRY_YEARS));
	result = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
													 TimestampTzGetDatum(GetCurrentTransactionStartTimestamp()),
													 IntervalPGetDatum(value)));
	/* '1 mon -29 days', in February */
	if (result <= GetCurrentTransactionStartTimestamp())
		ij_error_bad_argument(positive, NULL, leave_out);
	return result;
}

void
ij_validate_age(const char *argument, const Interval *value)
{
	if (interval_sign(value) < 0)
		ij_error_bad_argument(psprintf("argument \"%s\" must not be negative", argument), NULL,
							  "Give how long ago, such as '30 days'.");
	if (interval_years(value) > MAX_AGE_YEARS)
		ij_error_bad_argument(psprintf("argument \"%s\" is too long", argument), NULL,
							  psprintf("Give at most %d years.", MAX_AGE_YEARS));
}
