/*
 * page_token.c
 *		The opaque token that says where a list goes on.
 *
 * It holds the key of the last row of a page: the list it belongs to, a number (a
 * time, or 0) and an id, in hexadecimal so that it passes through any transport.
 * It carries no right: what it leads to is still filtered by the caller's row
 * security.  A token is input like any other, so everything in it is checked.
 */
#include "postgres.h"

#include "page_token.h"

#include "utils/builtins.h"

#include "bytes.h"
#include "errors.h"

text *
ij_page_token_make(char list, int64 number, const text *id)
{
	int			id_len = VARSIZE_ANY_EXHDR(id);
	text	   *token = palloc(VARHDRSZ + IJ_TOKEN_LENGTH(id_len));

	SET_VARSIZE(token, VARHDRSZ + IJ_TOKEN_LENGTH(id_len));
	ij_bytes_make_token(list, number, VARDATA_ANY(id), id_len, VARDATA(token));
	return token;
}

void
ij_page_token_read(char list, const text *token, int64 *number, text **id)
{
	size_t		len = VARSIZE_ANY_EXHDR(token);
	char	   *raw = palloc(len / 2 + 1);
	size_t		raw_len;

	if (!ij_bytes_read_token(list, VARDATA_ANY(token), len, number, raw, &raw_len))
		ij_error_bad_argument("page_token is not a token of this list", NULL,
							  "Pass the page_token of the last row of the page before, or null for the first page.");
	*id = cstring_to_text_with_len(raw, (int) raw_len);
}
