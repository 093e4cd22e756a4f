/*
 * bytes.c
 *		What bytes from outside mean: characters, their length in JSON, page tokens.
 *
 * Plain C with no server call, so that nothing here can fail, and fuzz/ can throw
 * anything at it.
 */
#include "bytes.h"

/* how many bytes follow the first one, by what it says; -1: it cannot be the first */
static int
following(unsigned char first)
{
	if (first < 0x80)
		return 0;
	if (first >= 0xC2 && first <= 0xDF)
		return 1;
	if ((first & 0xF0) == 0xE0)
		return 2;
	if (first >= 0xF0 && first <= 0xF4)
		return 3;
	return -1;
}

/*
 * As the server has it: the shortest form, no surrogate, nothing beyond U+10FFFF, and
 * no zero byte, which no text can hold.
 */
size_t
ij_bytes_utf8(const char *bytes, size_t len, uint32_t *character)
{
	static const uint32_t smallest[] = {1, 0x80, 0x800, 0x10000};
	const unsigned char *p = (const unsigned char *) bytes;
	int			more = len > 0 ? following(p[0]) : -1;
	uint32_t	c;

	if (more < 0 || len <= (size_t) more)
		return 0;
	c = more == 0 ? p[0] : p[0] & (0x3F >> more);
	for (int i = 1; i <= more; i++)
	{
		if ((p[i] & 0xC0) != 0x80)
			return 0;
		c = (c << 6) | (p[i] & 0x3F);
	}
	if (c < smallest[more] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
		return 0;
	*character = c;
	return (size_t) more + 1;
}

/*
 * Not control characters (C0, DEL, C1), the two separators that break a line as a
 * control character does, and what Unicode says is no character at all.
 */
bool
ij_bytes_printable(uint32_t c)
{
	if (c < 0x20 || (c >= 0x7F && c <= 0x9F))
		return false;
	if (c == 0x2028 || c == 0x2029)
		return false;
	if ((c >= 0xFDD0 && c <= 0xFDEF) || (c & 0xFFFE) == 0xFFFE)
		return false;
	return true;
}

/* by the rules of escape_json() */
int64_t
ij_bytes_json_length(const char *bytes, size_t len, int64_t limit)
{
	int64_t		length = 2;		/* the quotes */

	for (size_t i = 0; i < len && length <= limit; i++)
	{
		switch (bytes[i])
		{
			case '\b':
			case '\f':
			case '\n':
			case '\r':
			case '\t':
			case '"':
			case '\\':
				length += 2;
				break;
			default:
				/* \u and four digits */
				length += (unsigned char) bytes[i] < ' ' ? 6 : 1;
				break;
		}
	}
	return length;
}

static char *
put_byte(char *digits, unsigned char byte)
{
	static const char hex[] = "0123456789abcdef";

	digits[0] = hex[byte >> 4];
	digits[1] = hex[byte & 0x0F];
	return digits + 2;
}

void
ij_bytes_make_token(char letter, int64_t number, const char *text, size_t text_len, char *token)
{
	token = put_byte(token, (unsigned char) letter);
	for (int shift = 56; shift >= 0; shift -= 8)
		token = put_byte(token, (unsigned char) ((uint64_t) number >> shift));
	for (size_t i = 0; i < text_len; i++)
		token = put_byte(token, (unsigned char) text[i]);
}

static int
digit_value(char digit)
{
	if (digit >= '0' && digit <= '9')
		return digit - '0';
	if (digit >= 'a' && digit <= 'f')
		return digit - 'a' + 10;
	if (digit >= 'A' && digit <= 'F')
		return digit - 'A' + 10;
	return -1;
}

static bool
get_byte(const char *digits, unsigned char *byte)
{
	int			high = digit_value(digits[0]);
	int			low = digit_value(digits[1]);

	if (high < 0 || low < 0)
		return false;
	*byte = (unsigned char) (high << 4 | low);
	return true;
}

static bool
is_text(const char *bytes, size_t len)
{
	while (len > 0)
	{
		uint32_t	character;
		size_t		size = ij_bytes_utf8(bytes, len, &character);

		if (size == 0)
			return false;
		bytes += size;
		len -= size;
	}
	return true;
}

bool
ij_bytes_read_token(char letter, const char *token, size_t len, int64_t *number,
					char *text, size_t *text_len)
{
	uint64_t	value = 0;
	unsigned char byte = 0;

	if (len % 2 != 0 || len / 2 < IJ_TOKEN_HEADER || !get_byte(token, &byte) || (char) byte != letter)
		return false;
	for (int i = 1; i < IJ_TOKEN_HEADER; i++)
	{
		if (!get_byte(token + 2 * i, &byte))
			return false;
		value = (value << 8) | byte;
	}
	*number = (int64_t) value;
	*text_len = len / 2 - IJ_TOKEN_HEADER;
	for (size_t i = 0; i < *text_len; i++)
	{
		if (!get_byte(token + 2 * (IJ_TOKEN_HEADER + i), &byte))
			return false;
		text[i] = (char) byte;
	}
	return is_text(text, *text_len);
}
