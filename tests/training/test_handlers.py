"""MONAI's and ignite's own handlers attach to the trainer and the validator, and see each step and epoch."""

import torch
from monai.engines import IterationEvents
from monai.handlers import CheckpointSaver, MetricsSaver, StatsHandler, ValidationHandler

from cardiac_motion.registration.losses import RegistrationLoss
from cardiac_motion.training.trainer import RegistrationValidator
from tests.training.test_trainer import Bars, trainer


def test_monais_handlers_see_a_training(tmp_path):
    engine = trainer(tmp_path, 2)
    loader = torch.utils.data.DataLoader(Bars(2), batch_size=2)
    validator = RegistrationValidator("cpu", loader, engine.network, RegistrationLoss(radius=2))
    seen = []
    for event in IterationEvents.FORWARD_COMPLETED, IterationEvents.BACKWARD_COMPLETED, IterationEvents.MODEL_COMPLETED:
        engine.add_event_handler(event, lambda e, event=event: seen.append(event.value))
    lines = []
    stats = StatsHandler(
        name="training", output_transform=lambda output: output["loss"],
        iteration_print_logger=lambda e: lines.append(e.state.iteration),
        epoch_print_logger=lambda e: lines.append(f"epoch {e.state.epoch}"),
    )  # fmt: skip
    stats.attach(engine)
    CheckpointSaver(str(tmp_path / "saved"), {"network": engine.network}, save_final=True).attach(engine)
    ValidationHandler(1, validator).attach(engine)
    MetricsSaver(str(tmp_path / "metrics"), metrics="*").attach(validator)
    engine.run()
    assert seen == ["forward_completed", "backward_completed", "model_completed"] * 4
    assert lines == [1, 2, "epoch 1", 3, 4, "epoch 2"]
    assert list((tmp_path / "saved").glob("*.pt"))
    assert "loss" in (tmp_path / "metrics/metrics.csv").read_text(encoding="utf-8")
    assert validator.state.epoch == 2 and set(engine.state.output) == {"image", "pred", "loss"}
