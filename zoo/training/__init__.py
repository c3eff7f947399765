"""Training: data, recipe, tracking, checkpoints, distribution."""
