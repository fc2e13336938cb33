"""Measurements on public data that the project was not developed on, beside other methods in the same run."""
