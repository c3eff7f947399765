"""Importing this lets a benchmark import the zoo of this copy, where none is installed, and wait for its kernels."""

import os
import sys
from pathlib import Path

os.environ.setdefault("BLOCKS_KERNELS", "wait")  # else a first measurement would be of TensorFlow's operations
sys.path.append(str(Path(__file__).resolve().parent.parent))
