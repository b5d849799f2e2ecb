"""Our layers, other libraries' and the machine's limits, side by side on four training tasks."""
