"""What a bundle holds beside its description and weights: plain PyTorch, Python 3.8, torch 2.0."""
