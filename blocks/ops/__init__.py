"""How each operation is computed: an entry for every backend a file, and one package for each backend of its own."""
