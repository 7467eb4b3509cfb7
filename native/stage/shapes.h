/* What the decoder checks of each operation: which of its operands name a string, a list, an array or a slot, and where
 * they are.  Numbers are not named here: they may hold anything.  shapes.c is generated from the table of operations. */
#ifndef PYOCI_SHAPES_H
#define PYOCI_SHAPES_H

#include "stage.h"

enum operand_kind {
    TEXT = 1,                       /* struct text */
    LIST,                           /* struct list */
    ARRAY_OF_4,                     /* struct array of 4-byte items */
    ARRAY_OF_8,
    SLOTS,                          /* struct array of int32_t, each the index of a slot */
    SLOT,                           /* int32_t, the index of a slot */
    OPTIONAL_SLOT                   /* or NO_SLOT */
};

enum { OPERANDS_MAX = 4, ARRAY_ALIGNMENT = 8 };

struct operand {
    uint16_t kind;                  /* enum operand_kind */
    uint16_t offset;                /* in struct step */
};

struct shape {
    uint16_t flags;                 /* the flags that the operation knows */
    uint16_t count;
    struct operand operands[OPERANDS_MAX];
};

extern const struct shape shapes[OP_COUNT];

/* Arrays and 64-bit operands are aligned where they lie: the steps follow the head, and the string table the steps. */
_Static_assert(sizeof(struct plan) % ARRAY_ALIGNMENT == 0, "struct plan");
_Static_assert(sizeof(struct step) % ARRAY_ALIGNMENT == 0, "struct step");

#endif
