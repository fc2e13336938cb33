"""The command ``cardiac-motion``, with one verb per task."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "main": ["COMMANDS", "Command", "run_command"],
    },
)
