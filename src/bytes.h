/*
 * bytes.h
 *		What bytes from outside mean.
 */
#ifndef IJ_BYTES_H
#define IJ_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* the character at the start of these bytes, and how many it takes; 0: none, it is not UTF-8 */
extern size_t ij_bytes_utf8(const char *bytes, size_t len, uint32_t *character);

/* can whoever reads it see that it is there? */
extern bool ij_bytes_printable(uint32_t character);

/* bytes of a JSON string as jsonb_out() prints it, quotes included; anything above limit if it is more */
extern int64_t ij_bytes_json_length(const char *bytes, size_t len, int64_t limit);

/* a page token: hexadecimal digits, that stand for a letter, a number and a text */
#define IJ_TOKEN_HEADER					9	/* the letter and the number, in bytes */
#define IJ_TOKEN_LENGTH(text_len)		(2 * (IJ_TOKEN_HEADER + (text_len)))

extern void ij_bytes_make_token(char letter, int64_t number, const char *text, size_t text_len, char *token);

/* false if it is none of this letter; text has room for half the token's length */
extern bool ij_bytes_read_token(char letter, const char *token, size_t len, int64_t *number,
								char *text, size_t *text_len);

#endif							/* IJ_BYTES_H */
