"""Bundles outside the repository."""
