"""The container's configuration: config.json as dataclasses, or a list of problems."""
