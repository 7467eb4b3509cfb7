"""The tool circle: what may use the whole standard library and installed packages.

The static file has neither, so that it lacks these modules, too; see pyoci.commands.validate.
"""
