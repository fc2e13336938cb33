"""Blood flow in the left ventricle from contrast cines: pool, velocity, vortices, energy, files and a report."""
