/*
 * text.c
 *		A character is what its encoding would give back, and the length in JSON is that
 *		of the text that is made letter by letter.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "../src/bytes.h"

extern int	LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static size_t
encode(uint32_t c, unsigned char *out)
{
	if (c < 0x80)
	{
		out[0] = c;
		return 1;
	}
	if (c < 0x800)
	{
		out[0] = 0xC0 | (c >> 6);
		out[1] = 0x80 | (c & 0x3F);
		return 2;
	}
	if (c < 0x10000)
	{
		out[0] = 0xE0 | (c >> 12);
		out[1] = 0x80 | ((c >> 6) & 0x3F);
		out[2] = 0x80 | (c & 0x3F);
		return 3;
	}
	out[0] = 0xF0 | (c >> 18);
	out[1] = 0x80 | ((c >> 12) & 0x3F);
	out[2] = 0x80 | ((c >> 6) & 0x3F);
	out[3] = 0x80 | (c & 0x3F);
	return 4;
}

static void
check_characters(const unsigned char *data, size_t size)
{
	while (size > 0)
	{
		unsigned char again[4];
		uint32_t	c = 0;
		size_t		used = ij_bytes_utf8((const char *) data, size, &c);

		if (used == 0)
			return;
		assert(used <= size && c > 0 && c <= 0x10FFFF && (c < 0xD800 || c > 0xDFFF));
		assert(encode(c, again) == used && memcmp(again, data, used) == 0);
		if (ij_bytes_printable(c))
			assert(c >= 0x20 && c != 0x7F && c != 0x85 && c != 0x2028 && (c & 0xFFFF) < 0xFFFE);
		data += used;
		size -= used;
	}
}

static int64_t
naive_length(const unsigned char *data, size_t size)
{
	int64_t		length = 2;
	char		buf[8];

	for (size_t i = 0; i < size; i++)
	{
		if (memchr("\b\f\n\r\t\"\\", data[i], 7) != NULL)
			length += 2;
		else if (data[i] < 0x20)
			length += snprintf(buf, sizeof(buf), "\\u%04x", data[i]);
		else
			length += 1;
	}
	return length;
}

int
LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	int64_t		exact = naive_length(data, size);
	int64_t		limit = size > 0 ? data[0] : 0;
	int64_t		limited = ij_bytes_json_length((const char *) data, size, limit);

	check_characters(data, size);
	assert(ij_bytes_json_length((const char *) data, size, INT64_MAX) == exact);
	assert(limited <= limit ? limited == exact : exact > limit);
	return 0;
}
