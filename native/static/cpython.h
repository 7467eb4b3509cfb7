/* What is taken from the insides of CPython; there is one file for each version: cpython311.c and so on. */
#ifndef PYOCI_CPYTHON_H
#define PYOCI_CPYTHON_H

#include <Python.h>

#include <stdbool.h>

/* Frozen modules, written by freeze.py: what stands for importlib, and all others; each ends with an empty one. */
extern const struct _frozen frozen_bootstrap[], frozen_modules[];

/* Prepare CPython's state for being written; return false, with Python's exception, if that fails. */
bool cpython_record(void);

/* Make the recorded state this process' own, before any other use of Python; return false if that fails. */
bool cpython_resume(void);

#endif
