"""The four modules of the host."""
