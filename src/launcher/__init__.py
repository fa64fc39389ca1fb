"""Starts and stops the project on a machine with nothing but Python: servers, schemas, host."""
