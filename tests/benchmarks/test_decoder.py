"""The study of the decoder: its configs, what it measures of a training, and its table."""

import json
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from benchmarks import decoder, digits_configs, trainings
from benchmarks.decoder import NMS, Run
from benchmarks.decoder_changes import CHANGES, PLAN, PUBLISHED, QUICK_START


@pytest.mark.parametrize("detector", PLAN)
def test_each_change_alters_what_it_names(detector: str, tmp_path: Path) -> None:
    for changes in (", ".join(PLAN[detector]), PUBLISHED):
        config = Config.fromfile(decoder.write_config(Run(detector, changes, 0, 3), tmp_path / changes[:5]))
        altered = changes != PUBLISHED
        costs = config.model.train_cfg.detr.assigner.match_costs
        assert (costs[0].weight == 20, config.train_dataloader.batch_size == 2) == (altered, altered)
        assert [cost.weight for cost in costs[1:]] == [5.0, 2.0]
        assert (config.model.num_queries, config.optim_wrapper.optimizer.lr) == ((30, 2e-3) if altered else (60, 1e-3))
        assert config.model.bbox_head.get("balance_boxes", True) != (altered and detector == "BRS-DETR")


def test_the_quick_start_is_one_of_the_studys_recipes(tmp_path: Path) -> None:
    recipe = Run(*QUICK_START, 0, 9)
    studied = Config.fromfile(decoder.write_config(recipe, tmp_path))
    ours = Config.fromfile(digits_configs.CONFIGS / "brs_detr" / "brs-detr_quickstart_digits.py")
    assert ours.model.to_dict() == studied.model.to_dict()
    assert ours.optim_wrapper.to_dict() == studied.optim_wrapper.to_dict()
    assert ours.train_dataloader.batch_size == studied.train_dataloader.batch_size == 2
    assert ours.train_dataloader.dataset.to_dict() == studied.train_dataloader.dataset.to_dict()
    assert ours.train_cfg.max_epochs == ours.param_scheduler[1].end == ours.param_scheduler[1].T_max == recipe.epochs


def test_a_training_is_measured_by_all_heads_and_on_other_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = {"on": 0.5, "one-stage": 0.6, "two-stage": 0.7}

    def trained(config: Path, epochs: int, seed: int) -> Path:
        rows = [{"loss": 1.0, "time": 0.5, "data_time": 0.1, "loss_time": 0.01, "step": 1}]
        rows += [{"coco/bbox_mAP": ap, "coco/bbox_mAP_50": 2 * ap, "step": n} for n, ap in ((2, 0.1), (4, 0.3))]
        (config.parent / "run" / "1" / "vis_data").mkdir(parents=True)
        (config.parent / "run" / "1" / "vis_data" / "scalars.json").write_text("\n".join(map(json.dumps, rows)))
        return config.parent / "run"

    def evaluated(config: str, checkpoint: str, *, options: dict[str, Any], **others: Any) -> dict[str, float]:
        assert checkpoint.endswith("run/epoch_4.pth")
        ap = scores[options.get("model.eval_module", "on")] + (0.05 if NMS.items() <= options.items() else 0)
        return {"bbox_mAP": ap / 10 if "test_evaluator.ann_file" in options else ap}

    monkeypatch.setattr(decoder, "train_quietly", trained)
    monkeypatch.setattr(decoder.launch, "evaluate", evaluated)
    result = decoder.train(Run("BRS-DETR", PUBLISHED, 0, 4), tmp_path)
    assert result == {
        **{"APs": "0.100 0.300", "AP": 0.3, "AP50": 0.6, "seconds": 0.4},
        **{"by NMS": 0.55, "ATSS head": 0.6, "RoI head": 0.7},
        **{"test AP": 0.05, "test AP by NMS": pytest.approx(0.055)},
    }


def test_a_training_that_was_killed_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str | None, bool]] = []
    monkeypatch.setattr(trainings.launch, "train", lambda _, given: asked.append((given.resume, given.overwrite)))
    for name in ("log.txt", "run/epoch_1.pth", "run/training.json"):  # what there is after each
        trainings.train_quietly(tmp_path / "config.py", 3, 0)
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    trainings.train_quietly(tmp_path / "config.py", 3, 0)
    assert asked == [(None, True), (None, True), ("last", False), (None, True)]


def test_the_table_has_means_over_seeds(tmp_path: Path) -> None:
    assert set(CHANGES) == set(PLAN["BRS-DETR"])
    path = tmp_path / "decoder.csv"
    for seed, ap in ((1, 0.6), (0, 0.4)):
        run = Run("Co-DETR", "batch of 2", seed, 9)
        result = dict.fromkeys(decoder.COLUMNS, f"{ap}") | {"APs": f"0.1 {ap}", "device": "a", "torch": "b"}
        decoder.append_csv(path, decoder.COLUMNS, [result | {k: str(v) for k, v in run._asdict().items()}])
        assert run in decoder.finished(path)
    origin, reached, gained = decoder.table(path).replace(" ", "").split("\n\n")
    assert origin.endswith("`;2resultsofa,torchb.")
    row = reached.splitlines()[2]
    assert row.startswith("|Co-DETR|batchof2|9|2|0.500±0.141|0.500±0.141|")
    assert row.endswith("|0.50|0.10.4|")
    assert gained.splitlines()[2] == "|Co-DETR|batchof2|9|-|-|-|-|-1.701to2.701|-1.701to2.701|"
