"""The conversation with the stage."""
