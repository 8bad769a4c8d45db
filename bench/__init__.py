"""Benches: the floor, the load, and the figures the project holds itself to. Nothing of the product imports this package."""
