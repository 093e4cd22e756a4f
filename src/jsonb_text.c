/*
 * jsonb_text.c
 *		How long a jsonb value is as text, without making the text.
 */
#include "postgres.h"

#include "jsonb_text.h"

#include "miscadmin.h"
#include "utils/builtins.h"

#include "bytes.h"

/* the length of a scalar as jsonb_out() prints it, or anything above limit if it is longer */
static int64
scalar_text_length(const JsonbValue *value, int64 limit)
{
	switch (value->type)
	{
		case jbvNull:
			return 4;
		case jbvBool:
			return value->val.boolean ? 4 : 5;
		case jbvString:
			return ij_bytes_json_length(value->val.string.val, value->val.string.len, limit);
		case jbvNumeric:
			{
				char	   *number = DatumGetCString(DirectFunctionCall1(numeric_out,
																		 NumericGetDatum(value->val.numeric)));
				int64		length = strlen(number);

				pfree(number);
				return length;
			}
		default:
			elog(ERROR, "unexpected type of jsonb scalar: %d", (int) value->type);
	}
}

/*
 * A small jsonb may have a huge text form: 9 kB of numbers like 1e100000 print as
 * 95 MB.  So walk the value, add up what jsonb_out() would print, and stop as soon
 * as the limit is passed: the work is bounded by the limit and one number.
 */
bool
ij_jsonb_text_exceeds(const Jsonb *value, int64 limit)
{
	JsonbIterator *it = JsonbIteratorInit((JsonbContainer *) &value->root);
	bool		raw_scalar = JB_ROOT_IS_SCALAR(value);
	bool		first = true;	/* does no separator come before the next item? */
	int64		length = 0;
	JsonbValue	v;
	JsonbIteratorToken token;

	while ((token = JsonbIteratorNext(&it, &v, false)) != WJB_DONE)
	{
		CHECK_FOR_INTERRUPTS();

		switch (token)
		{
			case WJB_BEGIN_ARRAY:
			case WJB_BEGIN_OBJECT:
				if (!first)
					length += 2;	/* ", " */
				if (!raw_scalar)
					length += 1;	/* the bracket */
				first = true;
				break;
			case WJB_END_ARRAY:
			case WJB_END_OBJECT:
				if (!raw_scalar)
					length += 1;
				first = false;
				break;
			case WJB_KEY:
				if (!first)
					length += 2;
				length += ij_bytes_json_length(v.val.string.val, v.val.string.len, limit - length) + 2;	/* ": " */
				first = true;
				break;
			case WJB_VALUE:
			case WJB_ELEM:
				if (!first)
					length += 2;
				length += scalar_text_length(&v, limit - length);
				first = false;
				break;
			default:
				elog(ERROR, "unexpected jsonb iterator token: %d", (int) token);
		}
		if (length > limit)
			return true;
	}
	return false;
}
