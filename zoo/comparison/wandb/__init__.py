"""Comparisons and Weights & Biases: runs read from there, and a workspace and a report published there."""
