"""The wiring: settings, adapters, pipeline and delivery."""
