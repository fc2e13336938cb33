"""``python -m cardiac_motion.command``: equivalent to ``cardiac-motion``."""

import sys

from cardiac_motion.command.main import run_command

if __name__ == "__main__":
    sys.exit(run_command())
