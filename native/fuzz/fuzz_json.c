/* A fuzzer for the JSON reader.
 *
 * With libFuzzer:     clang -g -fsanitize=fuzzer,address,undefined fuzz_json.c ../ext/json*.c
 * Without it:         gcc -g -fsanitize=address,undefined -DFUZZ_MAIN fuzz_json.c ../ext/json*.c
 *     ./a.out FILE…               read these files, or standard input when there are none
 *     ./a.out --mutate N FILE…    read each file with N random sets of changes
 *
 * The arrays have the size that json.h promises to be enough, so the sanitizer sees a byte too many.  The
 * tape of a document that is accepted must be as json.h describes it; what is wrong there aborts.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../ext/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "the tape is wrong: %s\n", what);
        abort();
    }
}

static void check_patch(const struct json_tape *tape, uint32_t index)
{
    const struct json_patch *patch = &tape->patches[index];

    require(patch->kind > JSON_STRING && patch->kind <= JSON_OBJECT, "kind");
    require(patch->slot < tape->nplaces, "slot");
    require(index == 0 || patch->slot > tape->patches[index - 1].slot, "order of patches");
    if (patch->kind == JSON_ARRAY || patch->kind == JSON_OBJECT) {
        require(patch->first <= patch->end && patch->end <= patch->slot, "items before their container");
        require(patch->kind == JSON_ARRAY || (patch->end - patch->first) % 2 == 0, "pairs");
        for (uint32_t i = patch->first; i + 1 < patch->end; i++)
            require(tape->places[i] < tape->places[i + 1], "order of items");
        require(patch->first == patch->end || tape->places[patch->first] > tape->places[patch->slot],
                "items inside their container");
    } else {
        require(patch->first == 0 && patch->end == 0, "items of what is no container");
    }
}

/* The text of a slot. */
static const char *text_of(const struct json_tape *tape, uint32_t slot)
{
    const char *text = tape->text;

    while (slot--)
        text += strlen(text) + 1;
    return text;
}

static void check_names(const struct json_tape *tape, const struct json_patch *object)
{
    for (uint32_t i = object->first; i < object->end; i += 2)
        for (uint32_t j = object->first; j < i; j += 2)
            require(strcmp(text_of(tape, i), text_of(tape, j)) != 0, "a name twice");
}

static void check_tape(const struct json_tape *tape, size_t size)
{
    enum { SOON = 400 };
    uint32_t ends = 0;

    require(tape->nplaces > 0 && tape->ntext > 0 && tape->text[tape->ntext - 1] == '\0', "empty");
    for (uint32_t i = 0; i < tape->ntext; i++)
        ends += tape->text[i] == '\0';
    require(ends == tape->nplaces, "one NUL for each slot");
    for (uint32_t i = 0; i < tape->nplaces; i++)
        require(tape->places[i] < size, "place");
    for (uint32_t i = 0; i < tape->npatches; i++) {
        check_patch(tape, i);
        if (tape->patches[i].kind == JSON_OBJECT && tape->nplaces < SOON)
            check_names(tape, &tape->patches[i]);
    }
}

/* A copy with no byte to spare, so that reading too far is seen. */
static void *exact(const void *data, size_t size)
{
    void *memory = malloc(size);

    require(memory != NULL || size == 0, "out of memory");
    if (data && size)
        memcpy(memory, data, size);
    return memory;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *document = exact(data, size);
    size_t slots = size / 2 + 1;
    struct json_tape tape = {
        .text = exact(NULL, size + 1),
        .places = exact(NULL, slots * sizeof(uint32_t)),
        .patches = exact(NULL, slots * sizeof(struct json_patch)),
        .stack = exact(NULL, slots * sizeof(struct json_item)),
    };
    int error = json_read(document, size, &tape);

    require(error >= JSON_OK && error <= JSON_BAD_DUPLICATE, "error");
    if (error == JSON_OK)
        check_tape(&tape, size);
    else
        require(tape.error_at <= size, "place of the error");
    free(tape.stack);
    free(tape.patches);
    free(tape.places);
    free(tape.text);
    free(document);
    return 0;
}

#ifdef FUZZ_MAIN

#define MAX_INPUT (JSON_MAX_BYTES + 4096)

static uint64_t random_state = 0x9e3779b97f4a7c15;

/* xorshift64: the same inputs in every run. */
static uint32_t pick(size_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)((random_state >> 16) % below);
}

/* Overwrite, remove or double a few bytes; gives the new size, which is at most size + 3. */
static size_t mutate(uint8_t *data, size_t size)
{
    static const char likely[] = "[]{}:,\"\\u00dD8cefnt019.-+E \n\x80\xbf\xc0\xed\xf0\xf4\xff";

    for (uint32_t changes = 1 + pick(3); changes && size; changes--) {
        uint32_t at = pick(size);

        switch (pick(4)) {
        case 0:
            data[at] = (uint8_t)likely[pick(sizeof likely)];
            break;
        case 1:
            data[at] ^= (uint8_t)(1u << pick(8));
            break;
        case 2:
            memmove(data + at, data + at + 1, --size - at);
            break;
        default:
            memmove(data + at + 1, data + at, size++ - at);
        }
    }
    return pick(8) ? size : pick(size + 1);
}

static void run(const char *name, unsigned long mutations)
{
    FILE *file = name ? fopen(name, "rb") : stdin;
    uint8_t *data = exact(NULL, MAX_INPUT), *copy = exact(NULL, MAX_INPUT + 4);
    size_t size;

    require(file != NULL, "cannot open the input");
    size = fread(data, 1, MAX_INPUT, file);
    LLVMFuzzerTestOneInput(data, size);
    for (; mutations; mutations--) {
        memcpy(copy, data, size);
        LLVMFuzzerTestOneInput(copy, mutate(copy, size));
    }
    free(copy);
    free(data);
    if (name)
        fclose(file);
}

int main(int argc, char **argv)
{
    int mutating = argc > 2 && strcmp(argv[1], "--mutate") == 0, first = mutating ? 3 : 1;
    unsigned long mutations = mutating ? strtoul(argv[2], NULL, 10) : 0;

    if (first >= argc)
        run(NULL, mutations);
    for (int i = first; i < argc; i++)
        run(argv[i], mutations);
    return 0;
}

#endif
