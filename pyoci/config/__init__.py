"""The container's configuration: config.json as typed records, or a list of problems."""
