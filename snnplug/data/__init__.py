"""Event recordings, frames and data modules; the only place that imports tonic (GPL-3.0-only)."""
