"""Learning rules that are not plain backpropagation through time."""
