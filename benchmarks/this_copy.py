"""Importing this lets a benchmark import the zoo of this copy, where none is installed."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent))
