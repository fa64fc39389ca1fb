"""Notification channels, one file each; `base` has what they share."""
