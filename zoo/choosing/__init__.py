"""Published checkpoints that fit a budget: filtered by what is published, measured here, ranked: `zoo choose`."""
