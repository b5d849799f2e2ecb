"""Counting what a network does, and pricing it on a hardware target."""
