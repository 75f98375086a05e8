"""At every moment of saving there is a whole last checkpoint and a whole best one."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.fileio import get_file_backend
from mmengine.logging import MessageHub

from brs_detr.engine import WholeCheckpointHook
from brs_detr.engine.running import work_dir
from brs_detr.engine.running.checkpoints import Runner, WholeFileBackend
from brs_detr.engine.running.resuming import LAST, find_checkpoint
from brs_detr.weights import read_checkpoint


class FakeRunner(SimpleNamespace):
    """Saves a small file, after noting what there was to fall back on; starts from what was saved last."""

    def __init__(self, folder: Path) -> None:
        hub = MessageHub(f"{folder}")
        super().__init__(work_dir=str(folder), message_hub=hub, epoch=0, iter=0, fallback=[], killed=False)
        if last := find_checkpoint(folder, LAST)[0]:
            content = read_checkpoint(str(last))
            self.epoch = content["epoch"]
            hub.runtime_info.update(content["hub"])
        folder.mkdir(exist_ok=True)
        self.logger = SimpleNamespace(info=lambda *args: None)

    def save_checkpoint(self, out_dir: str, filename: str, *args: object, **kwargs: object) -> None:
        best = len(list(Path(out_dir).glob("best_*.pth")))
        self.fallback.append((find_checkpoint(self.work_dir, LAST)[0], best))
        if self.killed:
            raise KeyboardInterrupt
        content = {"epoch": kwargs["meta"]["epoch"], "hub": dict(self.message_hub.runtime_info)}
        torch.save(content, Path(out_dir, filename))
        work_dir.note(out_dir, Path(out_dir, filename))


def train(runner: FakeRunner, hook: WholeCheckpointHook, scores: list[float]) -> None:
    for score in scores:
        hook._save_checkpoint(runner)
        runner.epoch += 1
        hook.after_val_epoch(runner, {"coco/bbox_mAP": score})


def new_hook(runner: FakeRunner) -> WholeCheckpointHook:
    hook = WholeCheckpointHook(interval=1, max_keep_ckpts=1, save_best="coco/bbox_mAP", rule="greater")
    hook.before_train(runner)
    return hook


def names(work_dir: str) -> list[str]:
    return sorted(path.name for path in Path(work_dir).iterdir())


def test_the_last_and_the_best_stay(tmp_path: Path) -> None:
    runner = FakeRunner(tmp_path)
    train(runner, new_hook(runner), [0.1, 0.3, 0.2])
    assert names(runner.work_dir) == ["best_coco_bbox_mAP_epoch_2.pth", "epoch_3.pth", "last_checkpoint"]
    assert Path(runner.work_dir, "last_checkpoint").read_text().endswith("epoch_3.pth")
    for last, best in runner.fallback[2:]:  # after the first epoch
        assert last is not None
        assert best >= 1


def test_a_kill_while_saving_loses_nothing_and_resuming_tidies_up(tmp_path: Path) -> None:
    runner = FakeRunner(tmp_path)
    hook = new_hook(runner)
    train(runner, hook, [0.1])
    runner.killed = True
    with pytest.raises(KeyboardInterrupt):
        train(runner, hook, [0.3])
    assert find_checkpoint(runner.work_dir, LAST)[0] == Path(runner.work_dir, "epoch_1.pth")
    resumed = FakeRunner(tmp_path)
    train(resumed, new_hook(resumed), [0.3])
    assert names(runner.work_dir) == ["best_coco_bbox_mAP_epoch_2.pth", "epoch_2.pth", "last_checkpoint"]


def test_a_best_checkpoint_of_the_same_name_stays(tmp_path: Path) -> None:
    """A loop of iterations with ``by_epoch`` at its default counts no epochs."""
    runner = FakeRunner(tmp_path)
    hook = new_hook(runner)
    for score in (0.1, 0.3, 0.2):
        hook.after_val_epoch(runner, {"coco/bbox_mAP": score})
    assert "best_coco_bbox_mAP_epoch_0.pth" in names(runner.work_dir)


@pytest.mark.parametrize("copied", [False, True])
def test_the_best_checkpoint_of_another_folder_stays_there(tmp_path: Path, copied: bool) -> None:
    runner = FakeRunner(tmp_path / "old")
    train(runner, new_hook(runner), [0.1, 0.3])
    old = names(runner.work_dir)
    if copied:
        shutil.copytree(tmp_path / "old", tmp_path / "new")
    other = FakeRunner(tmp_path / "new")
    other.message_hub.runtime_info.update(runner.message_hub.runtime_info)
    other.epoch = runner.epoch
    train(other, new_hook(other), [0.5])
    assert names(runner.work_dir) == old
    assert [name for name in names(other.work_dir) if "best" in name] == ["best_coco_bbox_mAP_epoch_3.pth"]


def test_without_a_best_only_the_last_stays(tmp_path: Path) -> None:
    runner = FakeRunner(tmp_path)
    hook = WholeCheckpointHook(interval=1, max_keep_ckpts=1, save_best=None)
    hook.before_train(runner)
    train(runner, hook, [0.1, 0.3])
    assert names(runner.work_dir) == ["epoch_2.pth", "last_checkpoint"]


@pytest.mark.parametrize("name", ["toy.py", "toy.yaml", "toy.json", None])
def test_a_kill_leaves_the_config_of_the_work_directory_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str | None
) -> None:
    """Under mmengine's name, in the format of the config that was read."""
    work, config = tmp_path / "work", Config(dict(train_cfg=dict(max_epochs=0)))
    if name:
        config.dump(tmp_path / name)
        config = Config.fromfile(tmp_path / name)
    runner = SimpleNamespace(work_dir=str(work), timestamp="now", cfg=config)

    def dump(epochs: int) -> None:
        config.train_cfg.max_epochs = epochs
        Runner.dump_config(runner)

    def killed(path: Path, content: bytes) -> None:
        path.open("wb").write(content[:9])
        raise KeyboardInterrupt

    dump(1)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", killed)
        with pytest.raises(KeyboardInterrupt):
            dump(2)
    assert names(str(work)) == [name or "now.py"]
    assert Config.fromfile(work / (name or "now.py")).train_cfg.max_epochs == 1
    dump(3)
    assert Config.fromfile(work / (name or "now.py")).train_cfg.max_epochs == 3


def test_mmengine_writes_whole_files(tmp_path: Path) -> None:
    backend = get_file_backend(str(tmp_path))
    assert isinstance(backend, WholeFileBackend)
    backend.put(b"bytes", str(tmp_path / "deep" / "file"))
    assert (tmp_path / "deep" / "file").read_bytes() == b"bytes"
