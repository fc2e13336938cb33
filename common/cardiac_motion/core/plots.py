"""Matplotlib's pyplot for files: no window is opened, whatever the machine has."""

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

__all__ = ["plt"]
