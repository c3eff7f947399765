"""Published checkpoints of PyTorch's libraries, and those of one's own, into the networks of the zoo and back."""
