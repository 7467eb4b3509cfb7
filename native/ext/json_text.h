/* What json.c needs to read a string. */
#ifndef PYOCI_JSON_TEXT_H
#define PYOCI_JSON_TEXT_H

#include <stdint.h>

/* The length of the UTF-8 sequence that begins at p, 0 if it is ill-formed. */
uint32_t json_utf8_length(const unsigned char *p, uint32_t left);

/* The code point of the escape at p; *length gets its bytes.  Negative: an enum json_error. */
int32_t json_escape(const unsigned char *p, uint32_t left, uint32_t *length);

/* Copy a string that has been checked, decoded; gives where its copy ends. */
char *json_put_string(char *to, const unsigned char *from, const unsigned char *end);

#endif
