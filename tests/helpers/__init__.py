"""What several test files need: servers, files and networks to test with, and what results are held against."""
