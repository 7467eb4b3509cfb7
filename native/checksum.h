/* A checksum against accidents, for what the build puts into the executable; build.py computes the same.
 *
 * Each step can be undone, so that one changed word always changes the sum.  There are four sums side by side, because
 * a multiplication has to wait for the one before.
 */
#ifndef PYOCI_CHECKSUM_H
#define PYOCI_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { SUMS = 4 };

static inline uint64_t checksum_step(uint64_t sum, const char *at)
{
    uint64_t word;

    memcpy(&word, at, sizeof word);
    return (sum ^ word) * 0x9e3779b97f4a7c15u;
}

/* data lies in an array of words: bytes behind size, up to the end of its word, are zeros. */
static inline uint64_t checksum(const void *data, size_t size)
{
    enum { WORD = sizeof(uint64_t) };
    const char *at = data, *end = at + size;
    uint64_t a = 0, b = 0, c = 0, d = 0, sums[SUMS], sum = size;

    for (; end - at >= SUMS * WORD; at += SUMS * WORD) {
        a = checksum_step(a, at);
        b = checksum_step(b, at + WORD);
        c = checksum_step(c, at + 2 * WORD);
        d = checksum_step(d, at + 3 * WORD);
    }
    memcpy(sums, (uint64_t[]){a, b, c, d}, sizeof sums);
    for (size_t next = 0; at < end; next++, at += WORD)
        sums[next] = checksum_step(sums[next], at);
    for (size_t next = 0; next < SUMS; next++)
        sum = checksum_step(sum, (const char *)&sums[next]);
    return sum;
}

#endif
