/* A JSON writer for the probe.  Bytes that are not ASCII come out as \u00XX: the reader decodes latin-1. */
#include "probe.h"

static int comma;

static void quoted(const char *text)
{
    putchar('"');
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            printf("\\%c", c);
        else if (c < 0x20 || c > 0x7e)
            printf("\\u%04x", c);
        else
            putchar(c);
    }
    putchar('"');
}

static void item(const char *name)
{
    if (comma)
        putchar(',');
    comma = 1;
    if (name) {
        quoted(name);
        putchar(':');
    }
}

void json_begin(const char *name, char bracket)
{
    item(name);
    putchar(bracket);
    comma = 0;
}

void json_end(char bracket)
{
    putchar(bracket);
    comma = 1;
}

void json_text(const char *name, const char *value)
{
    item(name);
    quoted(value);
}

void json_number(const char *name, long long value)
{
    item(name);
    printf("%lld", value);
}

void json_unsigned(const char *name, unsigned long long value)
{
    item(name);
    printf("%llu", value);
}

void json_null(const char *name)
{
    item(name);
    fputs("null", stdout);
}

void json_line(void)
{
    putchar('\n');
    fflush(stdout);
    comma = 0;
}
