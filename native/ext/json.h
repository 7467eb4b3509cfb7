/* The strict JSON reader: RFC 8259 text in, a tape of values out.
 *
 * This text has no preprocessor lines: cffi reads it as its cdef and C includes it.
 *
 * The tape is laid out so that Python needs no loop over strings.  Every name and every value gets a
 * slot, and the items of one array or object have neighbouring slots (an object's alternate: name,
 * value, name, value).  A container's items come before the container; the document's value is last.
 *
 *     text      for each slot its NUL-terminated UTF-8: a string or name, decoded; a number, as it was
 *               written; nothing for the other kinds.  NUL is refused in the document, so one split
 *               of the text gives the list of all slots.
 *     places    for each slot the byte offset in the document where it begins
 *     patches   what in that list is not a string, by ascending slot: a container's patch
 *               comes after those of its items, so one pass in order builds the values
 *
 * Refused beyond what the grammar refuses: invalid UTF-8, a byte order mark, NUL also as \u0000, lone
 * surrogates, integers outside -2**63 … 2**64-1, a name twice in an object, and documents beyond the limits below.
 * One thing is left to the caller, who gets it for nothing: a real number out of range is an infinity.
 */

enum json_limit {
    JSON_MAX_BYTES = 16777216,
    JSON_MAX_DEPTH = 64,            /* arrays and objects inside each other; a config needs 8 */
    JSON_MAX_NUMBER = 64            /* characters in one number; a double needs 25 */
};

enum json_kind {
    JSON_STRING,                    /* never in a patch */
    JSON_INTEGER,                   /* neither fraction nor exponent; fits int64_t or uint64_t */
    JSON_REAL,
    JSON_FALSE,
    JSON_TRUE,
    JSON_NULL,
    JSON_ARRAY,
    JSON_OBJECT
};

enum json_error {
    JSON_OK,
    JSON_BAD_SIZE,
    JSON_BAD_MARK,                  /* byte order mark */
    JSON_BAD_DEPTH,
    JSON_BAD_VALUE,                 /* no value where one must be */
    JSON_BAD_LITERAL,               /* NaN, Infinity, True, nul … */
    JSON_BAD_NUMBER,
    JSON_BAD_RANGE,
    JSON_BAD_NAME,                  /* no name after '{' or ',' */
    JSON_BAD_COLON,
    JSON_BAD_ITEM,                  /* neither ',' nor ']' after an item */
    JSON_BAD_MEMBER,                /* neither ',' nor '}' after a member */
    JSON_BAD_END,                   /* text after the document's value */
    JSON_BAD_UTF8,
    JSON_BAD_CONTROL,               /* control character in a string that is not escaped */
    JSON_BAD_ESCAPE,
    JSON_BAD_SURROGATE,
    JSON_BAD_NUL,
    JSON_BAD_STRING,                /* no closing quote */
    JSON_BAD_DUPLICATE              /* a name that the object has already */
};

struct json_patch {
    uint32_t kind;                  /* enum json_kind */
    uint32_t slot;
    uint32_t first;                 /* containers: the slot of the first item; others 0 */
    uint32_t end;                   /* containers: one past the slot of the last item; others 0 */
};

/* A value whose container is still open: the reader's stack. */
struct json_item {
    uint32_t kind;
    uint32_t place;
    uint32_t first;                 /* containers: slots, as in the patch; others: bytes of the document, */
    uint32_t end;                   /* without a string's quotes */
};

/* The arrays are the caller's: for a document of size bytes, text of size + 1 bytes and the others of
 * size / 2 + 1 elements.  The numbers are the reader's: how much it has used, or where the error is. */
struct json_tape {
    char *text;
    uint32_t *places;
    struct json_patch *patches;
    struct json_item *stack;
    uint32_t ntext;
    uint32_t nplaces;
    uint32_t npatches;
    uint32_t error_at;              /* byte offset in the document */
};

/* Read a document; gives an enum json_error.  One that is too large leaves the arrays untouched. */
int json_read(const char *document, size_t size, struct json_tape *tape);
