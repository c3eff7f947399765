"""One training on several devices, or on several machines."""
