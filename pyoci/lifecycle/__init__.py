"""The life of a container, one module for each part of it.

    container    the public face
    create exec delete           the verbs that do most
    state directory recovery     what is remembered, where, and how it is taken back
    hooks terminal seccomp_agent pidfile    whom a verb deals with besides the stage
    bundle request facts rights passwd      what a plan needs to know
"""
