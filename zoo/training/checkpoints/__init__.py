"""Checkpoints of a training: what they hold, when they are written, which one a run goes on from."""
