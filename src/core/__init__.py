"""The CoreC v4 host."""
