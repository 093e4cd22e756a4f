/*
 * jsonb_text.h
 *		How long a jsonb value is as text, without making the text.
 */
#ifndef IJ_JSONB_TEXT_H
#define IJ_JSONB_TEXT_H

#include "postgres.h"

#include "utils/jsonb.h"

/* does the text form of this value have more than limit bytes?  never builds the whole text */
extern bool ij_jsonb_text_exceeds(const Jsonb *value, int64 limit);

#endif							/* IJ_JSONB_TEXT_H */
