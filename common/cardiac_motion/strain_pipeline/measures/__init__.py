"""Strain and timing of a tracked wall, with intervals."""
