"""Contrast cines of the left ventricle with known flow."""
