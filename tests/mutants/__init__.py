"""Mutation testing of the modules that security depends on."""
