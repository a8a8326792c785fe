"""Jobs of more than one file."""
