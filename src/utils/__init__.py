"""What the host and its plugins share."""
