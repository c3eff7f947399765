"""Block functions, one family of networks a file."""
