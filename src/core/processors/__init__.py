"""What processors are made from."""
