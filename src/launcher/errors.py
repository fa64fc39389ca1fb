"""What the launcher says when something is wrong."""

from __future__ import annotations


class LauncherError(Exception):
    """A fault that the person at the keyboard can mend; its text is a Spanish sentence for them."""
