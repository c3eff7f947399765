"""Readers of the file formats that weights come in, one a file: names and shapes first, values on demand."""
