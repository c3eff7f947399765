"""How long networks take on this machine: contenders in processes of their own, timed in alternating rounds."""
