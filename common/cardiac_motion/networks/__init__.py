"""Networks of one contract: ``image [B, 2, *S]`` (moving, fixed) to ``ddf [B, d, *S]`` in voxels."""
