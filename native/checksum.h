/* A checksum against accidents, for what the build puts into the executable; freeze.py computes the same.
 *
 * Each step can be undone, so that one changed word always changes the sum.
 */
#ifndef PYOCI_CHECKSUM_H
#define PYOCI_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* data lies in an array of words: bytes behind size, up to the end of its word, are zeros. */
static inline uint64_t checksum(const void *data, size_t size)
{
    const char *at = data;
    uint64_t sum = size, word;

    for (size_t done = 0; done < size; done += sizeof word) {
        memcpy(&word, at + done, sizeof word);
        sum = (sum ^ word) * 0x9e3779b97f4a7c15u;
    }
    return sum;
}

#endif
