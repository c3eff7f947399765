"""Comparing training runs: reading what they recorded, ranking them, and a page that shows what each costs."""
