"""Adapters: everything that talks to something outside of the process."""
