"""Event data: ours, tonic and what the machine allows, side by side."""
