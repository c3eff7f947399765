"""One runtime a file: how a network is opened in it, and what it computes for a batch."""
