"""Simulated cines and pairs written to disk, and data sets of them."""
