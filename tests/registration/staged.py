"""A multi-scale registration of settings in one row."""

from dataclasses import fields

from cardiac_motion.registration.network_stage import NetworkStage
from cardiac_motion.registration.testtime import MultiScaleTestTimeTraining
from cardiac_motion.registration.velocity_stage import VelocityStage


def multi_scale(**settings):
    """``MultiScaleTestTimeTraining`` without a bar, each setting handed to the stage whose it is."""
    stages = {}
    for name, stage in (("network_stage", NetworkStage), ("velocity_stage", VelocityStage)):
        own = {field.name for field in fields(stage)} & set(settings)
        stages[name] = stage(**{key: settings.pop(key) for key in own})
    return MultiScaleTestTimeTraining(**{"progress": False, **settings}, **stages)
