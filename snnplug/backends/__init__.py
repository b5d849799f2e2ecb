"""Where a network runs, and how it leaves for other tools."""
