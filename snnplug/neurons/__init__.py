"""Neurons: snnTorch's contract for one step, and ``run`` for a whole sequence."""
