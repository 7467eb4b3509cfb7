"""The life of a container, one module for each part of it.

    container                           the public face
    create start run exec delete        the verbs that do most
    recovery                            the one undo
    state status directory root         what is remembered, what the container does, and where that is kept
    hooks terminal seccomp_agent        what a verb deals with besides the stage
    bundle request facts rights passwd  what a plan needs to know
"""
