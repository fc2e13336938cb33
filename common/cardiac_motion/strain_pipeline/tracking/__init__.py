"""The wall in each frame: segmented, tracked and filtered."""
