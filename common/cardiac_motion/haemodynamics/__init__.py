"""Quantities derived from velocity fields: derivatives, vortices, energy, stream lines; for blood and other fluids."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "derivatives": ["divergence", "strain_rate", "vorticity"],
        "energy": ["energy_loss", "kinetic_energy"],
        "stream": ["pathlines", "stream_function", "stream_lines"],
        "velocity": ["Velocity", "velocity_of"],
        "vortices": ["Vortex", "find_vortices", "gamma2"],
    },
)
