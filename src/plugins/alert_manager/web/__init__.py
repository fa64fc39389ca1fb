"""HTTP surfaces for operators: health and metrics."""
