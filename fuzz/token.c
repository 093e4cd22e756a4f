/*
 * token.c
 *		What is read from a token makes that token again, and what a token is made of is
 *		read from it, if it is text.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../src/bytes.h"

extern int	LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static bool
is_text(const char *bytes, size_t len)
{
	uint32_t	c;
	size_t		used;

	for (; len > 0; bytes += used, len -= used)
	{
		used = ij_bytes_utf8(bytes, len, &c);
		if (used == 0)
			return false;
	}
	return true;
}

static void
read_then_make(char letter, const char *token, size_t len)
{
	/* exactly as much room as is promised, so that one byte more is seen */
	char	   *text = malloc(len / 2 > 0 ? len / 2 : 1);
	size_t		text_len;
	int64_t		number;

	if (ij_bytes_read_token(letter, token, len, &number, text, &text_len))
	{
		char	   *again = malloc(len);

		assert(IJ_TOKEN_LENGTH(text_len) == len && is_text(text, text_len));
		ij_bytes_make_token(letter, number, text, text_len, again);
		assert(strncasecmp(again, token, len) == 0);
		free(again);
	}
	free(text);
}

static void
make_then_read(const unsigned char *data, size_t size)
{
	int64_t		number;
	int64_t		number_again;
	const char *text = (const char *) data + 9;
	size_t		text_len = size - 9;
	size_t		len_again;
	char	   *token = malloc(IJ_TOKEN_LENGTH(text_len));
	char	   *again = malloc(IJ_TOKEN_LENGTH(text_len) / 2);

	memcpy(&number, data + 1, sizeof(number));
	ij_bytes_make_token((char) data[0], number, text, text_len, token);
	if (ij_bytes_read_token((char) data[0], token, IJ_TOKEN_LENGTH(text_len), &number_again, again, &len_again))
		assert(number == number_again && len_again == text_len && memcmp(text, again, text_len) == 0);
	else
		assert(!is_text(text, text_len));
	assert(!ij_bytes_read_token((char) (data[0] + 1), token, IJ_TOKEN_LENGTH(text_len), &number_again, again, &len_again));
	free(token);
	free(again);
}

int
LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	if (size > 0)
		read_then_make((char) data[0], (const char *) data + 1, size - 1);
	if (size >= 9)
		make_then_read(data, size);
	return 0;
}
