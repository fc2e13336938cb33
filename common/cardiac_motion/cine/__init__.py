"""Cine loops: reading (``read``), writing, the imaging sector, and data sets of cases."""
