/* The strict JSON reader; json.h has the contract.
 *
 * A recursive descent, as deep as JSON_MAX_DEPTH.  Each value is pushed on the stack when it has been read.
 * When its container closes, the items leave the stack for their final slots, all together: that is
 * how neighbours in a container become neighbours on the tape.  Strings are checked when they are
 * read and decoded when they leave, so the second time nothing can be wrong with them.
 *
 * No array can overflow.  Every value and name but the first has two bytes of the document for itself: its
 * last one, and the '[', '{', ',' or ':' before its first.  In the tape's text a string loses two quotes and
 * gains a NUL; a number's NUL takes the place of what is behind it; no escape is shorter than what it means.
 *
 * That no name is twice in an object is found by sorting them.  A hash would need a key that nobody knows: whoever
 * writes the document chooses the names, and could choose them so that they collide.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "json.h"
#include "json_text.h"

struct reader {
    const unsigned char *text;
    uint32_t size;
    uint32_t at;
    uint32_t depth;
    uint32_t pushed;                /* items on the stack */
    struct json_tape *tape;
};

static int read_value(struct reader *r);

static int fail(struct reader *r, enum json_error error, uint32_t at)
{
    r->tape->error_at = at;
    return (int)error;
}

/* The byte at the reader's place; a NUL stands for the end, and is as wrong there as in a document. */
static unsigned char peek(const struct reader *r)
{
    return r->at < r->size ? r->text[r->at] : 0;
}

static unsigned char skip_space(struct reader *r)
{
    unsigned char c;

    for (c = peek(r); c == ' ' || c == '\n' || c == '\t' || c == '\r'; c = peek(r))
        r->at++;
    return c;
}

static void push(struct reader *r, enum json_kind kind, uint32_t place, uint32_t first, uint32_t end)
{
    r->tape->stack[r->pushed++] = (struct json_item){ (uint32_t)kind, place, first, end };
}

/* ---- strings ---- */

/* Check the byte at the reader's place, which is not a plain character, and step over what it begins. */
static int read_special(struct reader *r)
{
    const unsigned char *p = r->text + r->at;
    uint32_t length;

    if (*p == '\\') {
        int32_t code = json_escape(p, r->size - r->at, &length);

        if (code < 0)
            return fail(r, (enum json_error)-code, r->at);
    } else if (*p < 0x20) {
        return fail(r, *p ? JSON_BAD_CONTROL : JSON_BAD_NUL, r->at);
    } else {
        length = json_utf8_length(p, r->size - r->at);
        if (length == 0)
            return fail(r, JSON_BAD_UTF8, r->at);
    }
    r->at += length;
    return JSON_OK;
}

static int is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* Read a string or a name; the reader is at its opening quote. */
static int read_string(struct reader *r)
{
    uint32_t place = r->at++;
    int error;

    for (;;) {
        uint32_t at = r->at;

        while (at < r->size && is_plain(r->text[at]))
            at++;
        r->at = at;
        if (r->at == r->size)
            return fail(r, JSON_BAD_STRING, place);
        if (r->text[r->at] == '"')
            break;
        error = read_special(r);
        if (error)
            return error;
    }
    push(r, JSON_STRING, place, place + 1, r->at++);
    return JSON_OK;
}

/* ---- numbers and literals ---- */

static uint32_t skip_digits(struct reader *r)
{
    uint32_t begin = r->at;

    while (peek(r) >= '0' && peek(r) <= '9')
        r->at++;
    return r->at - begin;
}

/* Whether these digits are at most the limit, 2**63 for negative numbers and 2**64-1 for others. */
static int in_range(const unsigned char *digits, const unsigned char *end, int negative)
{
    uint64_t limit = negative ? (uint64_t)1 << 63 : UINT64_MAX, value = 0;

    for (; digits < end; digits++) {
        uint64_t digit = (uint64_t)(*digits - '0');

        if (value > (limit - digit) / 10)
            return 0;
        value = value * 10 + digit;
    }
    return 1;
}

static int read_number(struct reader *r)
{
    uint32_t place = r->at, digits, ndigits;
    enum json_kind kind = JSON_INTEGER;
    int negative = peek(r) == '-', malformed;

    r->at += (uint32_t)negative;
    digits = r->at;
    ndigits = skip_digits(r);
    malformed = ndigits == 0 || (ndigits > 1 && r->text[digits] == '0');
    if (peek(r) == '.') {
        kind = JSON_REAL;
        r->at++;
        malformed |= skip_digits(r) == 0;
    }
    if (peek(r) == 'e' || peek(r) == 'E') {
        kind = JSON_REAL;
        r->at++;
        if (peek(r) == '+' || peek(r) == '-')
            r->at++;
        malformed |= skip_digits(r) == 0;
    }
    if (malformed)
        return fail(r, JSON_BAD_NUMBER, place);
    if (r->at - place > JSON_MAX_NUMBER)
        return fail(r, JSON_BAD_RANGE, place);
    if (kind == JSON_INTEGER && !in_range(r->text + digits, r->text + r->at, negative))
        return fail(r, JSON_BAD_RANGE, place);
    push(r, kind, place, place, r->at);
    return JSON_OK;
}

static int is_letter(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static int read_literal(struct reader *r)
{
    static const char *const words[] = { [JSON_FALSE] = "false", [JSON_TRUE] = "true", [JSON_NULL] = "null" };
    uint32_t place = r->at;

    while (is_letter(peek(r)))
        r->at++;
    for (enum json_kind kind = JSON_FALSE; kind <= JSON_NULL; kind++) {
        size_t length = strlen(words[kind]);

        if (r->at - place == length && memcmp(r->text + place, words[kind], length) == 0) {
            push(r, kind, place, 0, 0);
            return JSON_OK;
        }
    }
    return fail(r, JSON_BAD_LITERAL, place);
}

/* ---- containers ---- */

/* Move one item from the stack to the next slot. */
static void place_item(struct reader *r, const struct json_item *item)
{
    struct json_tape *tape = r->tape;
    char *to = tape->text + tape->ntext;
    int container = item->kind == JSON_ARRAY || item->kind == JSON_OBJECT;

    if (item->kind == JSON_STRING) {
        to = json_put_string(to, r->text + item->first, r->text + item->end);
    } else {
        tape->patches[tape->npatches++] = (struct json_patch){
            item->kind, tape->nplaces, container ? item->first : 0, container ? item->end : 0
        };
        if (!container) {
            memcpy(to, r->text + item->first, item->end - item->first);
            to += item->end - item->first;
        }
    }
    *to++ = '\0';
    tape->ntext = (uint32_t)(to - tape->text);
    tape->places[tape->nplaces++] = item->place;
}

/* The order of two names by their bytes; first is where a name is in the tape's text. */
static int order(const char *text, const struct json_item *a, const struct json_item *b)
{
    return strcmp(text + a->first, text + b->first);
}

/* Let a name sink to its place in the heap of count names. */
static void sink(const char *text, struct json_item *names, uint32_t at, uint32_t count)
{
    struct json_item name = names[at];
    uint32_t child;

    while ((child = 2 * at + 1) < count) {
        if (child + 1 < count && order(text, &names[child], &names[child + 1]) < 0)
            child++;
        if (order(text, &name, &names[child]) >= 0)
            break;
        names[at] = names[child];
        at = child;
    }
    names[at] = name;
}

/* Sort names in place, never in more than n log n steps. */
static void sort(const char *text, struct json_item *names, uint32_t count)
{
    for (uint32_t at = count / 2; at-- > 0;)
        sink(text, names, at, count);
    for (uint32_t end = count; end-- > 1;) {
        struct json_item greatest = names[0];

        names[0] = names[end];
        names[end] = greatest;
        sink(text, names, 0, end);
    }
}

/* Whether no two of a few names are equal: most objects have a few. */
static int differ(const char *text, const struct json_item *names, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++)
        for (uint32_t j = 0; j < i; j++)
            if (text[names[i].first] == text[names[j].first] && order(text, &names[i], &names[j]) == 0)
                return 0;
    return 1;
}

/* Refuse the first of these names that was there before. */
static int refuse_duplicate(struct reader *r, struct json_item *names, uint32_t count)
{
    enum { A_FEW = 16 };
    const char *text = r->tape->text;
    uint32_t found = UINT32_MAX;

    if (count <= A_FEW && differ(text, names, count))
        return JSON_OK;
    sort(text, names, count);
    for (uint32_t i = 1; i < count; i++) {
        if (order(text, &names[i - 1], &names[i]) == 0) {
            uint32_t later = names[i - 1].place > names[i].place ? names[i - 1].place : names[i].place;

            found = later < found ? later : found;
        }
    }
    return found == UINT32_MAX ? JSON_OK : fail(r, JSON_BAD_DUPLICATE, found);
}

/* Close a container whose items are those above base: they get their slots, and it takes their place.
 *
 * What an item leaves on the stack is free: there the names are put beside each other to be compared. */
static int close_container(struct reader *r, enum json_kind kind, uint32_t place, uint32_t base)
{
    struct json_item *items = r->tape->stack + base;
    uint32_t first = r->tape->nplaces, count = r->pushed - base;
    int error = JSON_OK;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t text = r->tape->ntext;

        place_item(r, &items[i]);
        if (i % 2 == 0)
            items[i / 2] = (struct json_item){ JSON_STRING, items[i].place, text, 0 };
    }
    if (kind == JSON_OBJECT && count > 2)
        error = refuse_duplicate(r, items, count / 2);
    r->pushed = base;
    r->depth--;
    push(r, kind, place, first, r->tape->nplaces);
    return error;
}

/* Read a name and its colon. */
static int read_name(struct reader *r)
{
    int error;

    if (skip_space(r) != '"')
        return fail(r, JSON_BAD_NAME, r->at);
    error = read_string(r);
    if (!error && skip_space(r) != ':')
        error = fail(r, JSON_BAD_COLON, r->at);
    r->at++;
    return error;
}

static int read_container(struct reader *r, enum json_kind kind)
{
    unsigned char close = kind == JSON_OBJECT ? '}' : ']', c;
    uint32_t place = r->at++, base = r->pushed;

    if (r->depth++ == JSON_MAX_DEPTH)
        return fail(r, JSON_BAD_DEPTH, place);
    c = skip_space(r);
    while (c != close) {
        int error = kind == JSON_OBJECT ? read_name(r) : JSON_OK;

        if (!error)
            error = read_value(r);
        if (error)
            return error;
        c = skip_space(r);
        if (c == close)
            break;
        if (c != ',')
            return fail(r, kind == JSON_OBJECT ? JSON_BAD_MEMBER : JSON_BAD_ITEM, r->at);
        r->at++;
    }
    r->at++;
    return close_container(r, kind, place, base);
}

static int read_value(struct reader *r)
{
    unsigned char c = skip_space(r);

    if (c == '"')
        return read_string(r);
    if (c == '{')
        return read_container(r, JSON_OBJECT);
    if (c == '[')
        return read_container(r, JSON_ARRAY);
    if (c == '-' || (c >= '0' && c <= '9'))
        return read_number(r);
    if (is_letter(c))
        return read_literal(r);
    return fail(r, JSON_BAD_VALUE, r->at);
}

int json_read(const char *document, size_t size, struct json_tape *tape)
{
    struct reader r = { .text = (const unsigned char *)document, .size = (uint32_t)size, .tape = tape };
    int error;

    tape->ntext = tape->nplaces = tape->npatches = tape->error_at = 0;
    if (size > JSON_MAX_BYTES)
        return fail(&r, JSON_BAD_SIZE, 0);
    if (size >= 3 && memcmp(document, "\xef\xbb\xbf", 3) == 0)
        return fail(&r, JSON_BAD_MARK, 0);
    error = read_value(&r);
    if (error)
        return error;
    skip_space(&r);
    if (r.at != r.size)
        return fail(&r, JSON_BAD_END, r.at);
    place_item(&r, &tape->stack[0]);
    return JSON_OK;
}
