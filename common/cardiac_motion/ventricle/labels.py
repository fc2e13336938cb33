"""Labels of an apical frame: CAMUS's (Leclerc et al. 2019, 10.1109/TMI.2019.2900516)."""

from __future__ import annotations

LABELS = {1: "lv_cavity", 2: "myocardium", 3: "left_atrium"}
