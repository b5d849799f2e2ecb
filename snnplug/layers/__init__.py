"""Blocks made of weights and neurons."""
