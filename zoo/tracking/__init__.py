"""A training run on Weights & Biases while it goes on."""
