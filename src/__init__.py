"""CoreC v4: the host (core), what is shared (utils), the launcher and the plugins."""

__version__ = "0.1.0"
