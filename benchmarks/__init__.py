"""Measurements of the project on servers of their own; each module is one command."""
