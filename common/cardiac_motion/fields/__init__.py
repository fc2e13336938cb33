"""Displacement fields: warp, compose, invert; local NCC; points carried by fields."""
