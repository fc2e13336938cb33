"""From an apical cine to a strain report."""
