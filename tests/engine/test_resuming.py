"""Which checkpoint is continued, and what is tidied up before."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from brs_detr.engine.running import work_dir
from brs_detr.engine.running.resuming import AUTO, LAST, check_options, find_checkpoint, sweep
from brs_detr.errors import CheckpointError, InputError
from brs_detr.weights import read_checkpoint
from tests.engine.toy_training import logged, run


def save(folder: Path, *names: str) -> list[Path]:
    """Small checkpoints, each a second and an iteration before the next."""
    paths = [folder / name for name in names]
    for age, path in enumerate(paths):
        torch.save({"state_dict": {"weight": torch.zeros(3)}, "meta": {"iter": age}}, path)
        os.utime(path, (age, age))
    return paths


def test_the_newest_whole_checkpoint(tmp_path: Path) -> None:
    assert find_checkpoint(tmp_path, AUTO) == (
        None,
        [f"No checkpoint in {tmp_path} yet: training starts from the beginning."],
    )
    first, second, third = save(tmp_path, "epoch_1.pth", "iter_70.pth", "epoch_2.pth")
    (tmp_path / "last_checkpoint").write_text(str(first))
    for resume in (LAST, AUTO):
        assert find_checkpoint(tmp_path, resume) == (third, [])
    third.write_bytes(third.read_bytes()[:-30])
    os.utime(third, (9, 9))
    found, remarks = find_checkpoint(tmp_path, AUTO)
    assert found == second
    assert re.fullmatch(rf"The checkpoint {third} is truncated: .* It is skipped\.", *remarks)
    assert find_checkpoint(tmp_path, str(first)) == (first, [])
    for path in (first, second):
        path.write_bytes(b"")
    with pytest.raises(InputError, match=rf"No checkpoint in {tmp_path} is whole: .*epoch_1\.pth .* begin again"):
        find_checkpoint(tmp_path, AUTO)
    with pytest.raises(CheckpointError, match=r"epoch_1\.pth"):
        find_checkpoint(tmp_path, str(first))


def test_a_link_that_leads_nowhere_is_skipped(tmp_path: Path) -> None:
    (whole,) = save(tmp_path, "epoch_1.pth")
    for name, to in (("epoch_2.pth", "moved.pth"), ("epoch_3.pth", "epoch_3.pth")):
        link = tmp_path / name
        link.symlink_to(tmp_path / to)
        remark = f"The checkpoint {link} is a link that leads nowhere. It is skipped."
        assert find_checkpoint(tmp_path, LAST) == (whole, [remark])
        work_dir.note(tmp_path, whole)
        assert find_checkpoint(tmp_path, LAST)[0] == whole
        link.unlink()
        (tmp_path / "last_checkpoint").unlink()


def test_a_copied_folder_whose_times_are_lost(tmp_path: Path) -> None:
    """The note says which is the last, unless one that was written after it goes further."""
    noted, later, earlier = save(tmp_path, "epoch_2.pth", "interim.pth", "epoch_1.pth")
    os.utime(earlier, (9, 9))
    torch.save({"state_dict": {}, "meta": {"iter": -5}}, earlier)
    (tmp_path / "last_checkpoint").write_text(f"/gone/{noted.name}")
    assert find_checkpoint(tmp_path, AUTO) == (later, [])
    later.unlink()
    assert find_checkpoint(tmp_path, AUTO) == (noted, [])


def test_checkpoints_elsewhere(tmp_path: Path) -> None:
    """With a name or in a folder of the config's: the note alone leads there."""
    work = tmp_path / "work"
    for folder in (work, tmp_path / "checkpoints"):
        folder.mkdir(exist_ok=True)
        (last,) = save(folder, "model_3.pth")
        work_dir.note(work, last)
        assert find_checkpoint(work, AUTO) == (last, [])
        last.unlink()
        for gone in (str(last), "", "\0", "x" * 999):
            (work / "last_checkpoint").write_text(gone)
            assert find_checkpoint(work, AUTO)[0] is None


def test_the_interim_checkpoint_stands_until_the_next_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interim, last = save(tmp_path, "interim.pth", "model_3.pth")

    def killed(path: Path, *arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            work_dir.note(tmp_path, last)
    assert interim.exists()
    assert find_checkpoint(tmp_path, LAST)[0] == last
    work_dir.note(tmp_path, last)
    assert not interim.exists()


def test_options_that_contradict_each_other() -> None:
    check_options(AUTO, "weights.pth", 0.5)
    with pytest.raises(InputError, match=r"give one of them, or --resume auto"):
        check_options(LAST, "weights.pth", None)
    for minutes in (-1, float("nan")):
        with pytest.raises(InputError, match=r"--checkpoint-minutes needs a number of minutes"):
            check_options(None, None, minutes)


def test_only_our_own_unfinished_files_are_swept(tmp_path: Path) -> None:
    ours = [".epoch_3.pth-0123abcd", ".last_checkpoint-0123abcd", ".best_coco_bbox_mAP_epoch_3.pth-0123abcd"]
    ours += [".toy.py-0123abcd", ".toy.yaml-0123abcd"]
    others = [".notes-0123abcd", ".epoch_3.pth", "epoch_3.pth-0123abcd", ".epoch_3.pth-0123abc", ".bashrc"]
    for name in ours + others:
        (tmp_path / name).write_text("")
    (tmp_path / ".epoch_4.pth-0123abcd").mkdir()
    sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*others, ".epoch_4.pth-0123abcd"])
    sweep(tmp_path / "missing")


def test_more_epochs_have_the_rates_of_the_longer_training(toy_config: Path, tmp_path: Path) -> None:
    """A cosine, whose end is that of the config, and a rate that falls late; by iterations and by epochs."""
    cosine = dict(type="CosineAnnealingLR", T_max=6, end=6, eta_min=1e-4, convert_to_iter_based=True)
    options = {"param_scheduler": [dict(type="MultiStepLR", milestones=[4, 5]), cosine]}
    for name, epochs in (("longer", 4), ("work", 2), ("work", 4), ("work", 4)):
        assert run(toy_config, tmp_path / name, epochs=epochs, options=options) == 0
    longer, rates = ({step: row["lr"] for step, row in logged(tmp_path / name).items()} for name in ("longer", "work"))
    assert [step for step in rates if step > 10] == list(range(11, 21))
    assert [rates[step] for step in range(11, 21)] == [longer[step] for step in range(11, 21)]
    assert rates[10] < longer[10]
    said = "The learning rate follows the config's schedule, which is not the checkpoint's: it is 0.005"
    assert (tmp_path / "work.log").read_text().count(said) == 1
    assert "config's schedule" not in (tmp_path / "longer.log").read_text()


def test_a_schedule_by_evaluations_goes_on_as_it_was(toy_config: Path, tmp_path: Path) -> None:
    plateau = [dict(type="ReduceOnPlateauLR", monitor="coco/bbox_mAP", rule="greater", patience=5)]
    for epochs in (1, 2):
        assert run(toy_config, tmp_path / "work", epochs=epochs, options={"param_scheduler": plateau}) == 0
    assert "the checkpoint's, which goes on: ReduceOnPlateauLR goes by" in (tmp_path / "work.log").read_text()


def test_another_global_batch(toy_config: Path, tmp_path: Path) -> None:
    """It is said, and the learning rate that is offered applies to what is continued; whatever its file is called."""
    work, log = tmp_path / "work", tmp_path / "work.log"

    def train(epochs: int, **options: Any) -> str:
        before = len(log.read_text()) if log.exists() else 0
        assert run(toy_config, work, epochs=epochs, seed=epochs, options=options) == 0, log.read_text()
        return log.read_text()[before:]

    train(1)
    five = {"train_dataloader.batch_size": 5, "default_hooks.checkpoint.filename_tmpl": "model_{}.pth"}
    said = train(2, **five)
    assert "The checkpoint's seed 1 goes on, the given one 2 is left aside." in said
    assert "trained with 4 images a step, and this training goes on with 10." in said
    (offer,) = re.findall(r"--cfg-options (\S+)=(\S+)", said)
    assert offer == ("optim_wrapper.optimizer.lr", "0.025")
    assert "The learning rate is 2.5 times the checkpoint's" in train(3, **five, **{offer[0]: float(offer[1])})
    content = read_checkpoint(work / "model_3.pth")
    assert content["meta"]["seed"] == 1
    assert content["optimizer"]["param_groups"][0]["initial_lr"] == pytest.approx(0.025)
    assert content["param_schedulers"][0]["base_values"] == [pytest.approx(0.025)]
    assert "images a step" not in train(4, **five, **{offer[0]: float(offer[1])})
