"""Training: encodings, losses, decoders, the classifier and the logger."""
