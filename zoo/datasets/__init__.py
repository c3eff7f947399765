"""What networks learn from: data sets, their splits, and the input pipeline of training."""
