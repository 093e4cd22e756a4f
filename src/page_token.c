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

#include "mb/pg_wchar.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"

#include "errors.h"

#define HEADER	((int) (1 + sizeof(uint64)))

text *
ij_page_token_make(char list, int64 number, const text *id)
{
	int			id_len = VARSIZE_ANY_EXHDR(id);
	char	   *raw = palloc(HEADER + id_len);
	uint64		network = pg_hton64((uint64) number);
	text	   *token;

	raw[0] = list;
	memcpy(raw + 1, &network, sizeof(network));
	memcpy(raw + HEADER, VARDATA_ANY(id), id_len);

	token = palloc(VARHDRSZ + 2 * (HEADER + id_len));
	SET_VARSIZE(token, VARHDRSZ + 2 * (HEADER + id_len));
	hex_encode(raw, HEADER + id_len, VARDATA(token));
	return token;
}

static bool
is_hex(const char *s, int len)
{
	for (int i = 0; i < len; i++)
	{
		if (!isxdigit((unsigned char) s[i]))
			return false;
	}
	return true;
}

void
ij_page_token_read(char list, const text *token, int64 *number, text **id)
{
	const char *hex = VARDATA_ANY(token);
	int			hex_len = VARSIZE_ANY_EXHDR(token);
	char	   *raw = palloc(hex_len / 2 + 1);
	int			raw_len = hex_len / 2;
	uint64		network;

	if (hex_len % 2 == 0 && raw_len >= HEADER && is_hex(hex, hex_len))
	{
		hex_decode(hex, hex_len, raw);
		if (raw[0] == list && pg_verifymbstr(raw + HEADER, raw_len - HEADER, true))
		{
			memcpy(&network, raw + 1, sizeof(network));
			*number = (int64) pg_ntoh64(network);
			*id = cstring_to_text_with_len(raw + HEADER, raw_len - HEADER);
			return;
		}
	}
	ij_error_bad_argument("page_token is not a token of this list", NULL,
						  "Pass the page_token of the last row of the page before, or null for the first page.");
}
