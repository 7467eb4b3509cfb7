/* The strings of the strict JSON reader: UTF-8 and escapes, read and written. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "json.h"
#include "json_text.h"

/* The length of the UTF-8 sequence that begins at p, 0 if it is ill-formed (Unicode, table 3-7). */
uint32_t json_utf8_length(const unsigned char *p, uint32_t left)
{
    unsigned char low = 0x80, high = 0xbf;
    uint32_t length;

    if (p[0] >= 0xc2 && p[0] <= 0xdf) {
        length = 2;
    } else if (p[0] >= 0xe0 && p[0] <= 0xef) {
        length = 3;
        low = p[0] == 0xe0 ? 0xa0 : low;        /* overlong */
        high = p[0] == 0xed ? 0x9f : high;      /* surrogates */
    } else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
        length = 4;
        low = p[0] == 0xf0 ? 0x90 : low;        /* overlong */
        high = p[0] == 0xf4 ? 0x8f : high;      /* beyond U+10FFFF */
    } else {
        return 0;
    }
    if (left < length || p[1] < low || p[1] > high)
        return 0;
    for (uint32_t i = 2; i < length; i++)
        if (p[i] < 0x80 || p[i] > 0xbf)
            return 0;
    return length;
}

/* The value of four hexadecimal digits, -1 if they are not. */
static int32_t hex4(const unsigned char *p, uint32_t left)
{
    static const char digits[] = "0123456789abcdefABCDEF";
    int32_t value = 0;

    if (left < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        const char *found = memchr(digits, p[i], sizeof digits - 1);

        if (!found)
            return -1;
        value = value * 16 + (int32_t)(found - digits) - (found - digits > 15 ? 6 : 0);
    }
    return value;
}

/* The code point of the \u escape at p; *length gets its bytes.  Negative: an enum json_error. */
static int32_t unicode_escape(const unsigned char *p, uint32_t left, uint32_t *length)
{
    int32_t code = hex4(p + 2, left - 2), low;

    *length = 6;
    if (code < 0)
        return -JSON_BAD_ESCAPE;
    if (code == 0)
        return -JSON_BAD_NUL;
    if (code < 0xd800 || code > 0xdfff)
        return code;
    if (code > 0xdbff || left < 12 || p[6] != '\\' || p[7] != 'u')
        return -JSON_BAD_SURROGATE;
    low = hex4(p + 8, left - 8);
    if (low < 0xdc00 || low > 0xdfff)
        return -JSON_BAD_SURROGATE;
    *length = 12;
    return 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
}

/* The same for any escape: p is at its backslash, and left bytes remain with it. */
int32_t json_escape(const unsigned char *p, uint32_t left, uint32_t *length)
{
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    const char *found;

    if (left >= 2 && p[1] == 'u')
        return unicode_escape(p, left, length);
    *length = 2;
    found = left >= 2 ? memchr(letters, p[1], sizeof letters - 1) : NULL;
    return found ? meanings[found - letters] : -JSON_BAD_ESCAPE;
}

static char *put_utf8(char *to, uint32_t code)
{
    if (code >= 0x10000) {
        *to++ = (char)(0xf0 | code >> 18);
        *to++ = (char)(0x80 | (code >> 12 & 0x3f));
    } else if (code >= 0x800) {
        *to++ = (char)(0xe0 | code >> 12);
    }
    if (code >= 0x80)
        *to++ = (char)(code < 0x800 ? 0xc0 | code >> 6 : 0x80 | (code >> 6 & 0x3f));
    *to++ = (char)(code < 0x80 ? code : 0x80 | (code & 0x3f));
    return to;
}

/* Copy a string that has been checked, with its escapes replaced by what they mean. */
char *json_put_string(char *to, const unsigned char *from, const unsigned char *end)
{
    while (from < end) {
        const unsigned char *slash = memchr(from, '\\', (size_t)(end - from));
        size_t plain = (size_t)((slash ? slash : end) - from);
        uint32_t length;

        memcpy(to, from, plain);
        to += plain;
        from += plain;
        if (slash) {
            to = put_utf8(to, (uint32_t)json_escape(from, (uint32_t)(end - from), &length));
            from += length;
        }
    }
    return to;
}
