"""Other methods as networks of the same contract: ``image [B, 2, *S]`` to ``ddf [B, d, *S]`` in voxels."""
