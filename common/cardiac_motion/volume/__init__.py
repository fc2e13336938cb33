"""Volumes as cases on a common grid."""
