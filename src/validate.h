/*
 * validate.h
 *		Refuse bad input at the door, with SQLSTATE 22023 and a word on what is allowed.
 *
 * Each check takes the argument's name for its message.  A NULL where a value is
 * needed is 22004.
 */
#ifndef IJ_VALIDATE_H
#define IJ_VALIDATE_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "utils/jsonb.h"

/* 1 to IJ_MAX_ID_CHARS printable characters */
extern void ij_validate_id(const char *argument, const text *value);
extern void ij_validate_document_type(const text *value);

/* any JSON, as long as its text form stays within the limit */
extern void ij_validate_document(const char *argument, const Jsonb *value);

/* NULL or a JSON object within the limit */
extern void ij_validate_status_details(const char *argument, const Jsonb *value);

/* finite, after now, at most IJ_MAX_EXPIRY_YEARS away */
extern void ij_validate_expiry(TimestampTz value);

/* positive, and short enough; returns the moment it leads to from now() */
extern TimestampTz ij_validate_expires_in(const Interval *value);

/* not negative, and short enough to be subtracted from now */
extern void ij_validate_age(const char *argument, const Interval *value);

/*
 * Why this id or these details would be refused, without an error: NULL if they are
 * fine, else the message of the error.  For batches, where one bad report must not
 * spoil the rest.
 */
extern const char *ij_validate_id_complaint(const char *argument, const text *value);
extern const char *ij_validate_status_details_complaint(const Jsonb *value);

#endif							/* IJ_VALIDATE_H */
