"""Degradations: each a seeded function on tensors, drawn first and applied second."""
