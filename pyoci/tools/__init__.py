"""The tool circle: verbs, one a file, that may use the whole standard library and what is installed beside it.

The static file lacks both, and these modules with them: pyoci.commands.validate hands its verb over.
"""
