"""Hearts whose motion is known: anatomy, contraction and the tissue around."""
