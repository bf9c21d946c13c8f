"""Training: how models learn."""
