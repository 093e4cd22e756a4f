/*
 * page_token.h
 *		The opaque token that says where a list goes on.
 */
#ifndef IJ_PAGE_TOKEN_H
#define IJ_PAGE_TOKEN_H

#include "postgres.h"

/* the lists; a token of one is refused by the others */
#define IJ_PAGE_JOBS		'j'
#define IJ_PAGE_BY_DEVICE	'd'	/* executions of a job */
#define IJ_PAGE_BY_JOB		'e'	/* executions of a device */

extern text *ij_page_token_make(char list, int64 number, const text *id);

/* 22023 if it is no token of this list */
extern void ij_page_token_read(char list, const text *token, int64 *number, text **id);

#endif							/* IJ_PAGE_TOKEN_H */
