"""Data: what litakit is trained on and measured with."""
