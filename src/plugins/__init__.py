"""The plugins, and the manager that loads them."""
