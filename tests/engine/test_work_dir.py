"""A work directory with content is never written over unless asked."""

import subprocess
import sys
from pathlib import Path

import pytest

from brs_detr.engine.running import work_dir
from brs_detr.errors import InputError


def test_new_and_empty_folders_are_free(tmp_path: Path) -> None:
    work_dir.claim(tmp_path / "new", resume=False, overwrite=False)
    work_dir.claim(tmp_path, resume=False, overwrite=False)


def started(folder: Path, name: str, config: str) -> None:
    """What mmengine leaves where a start goes wrong: a log, and the config twice."""
    for path in (folder / "20260101_120000" / "vis_data" / "config.py", folder / name):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(config)


def test_starts_that_came_to_nothing_are_in_nobodys_way(tmp_path: Path) -> None:
    started(tmp_path, "misspelt.py", "model = 5")
    work_dir.discard(work_dir.claim(tmp_path, resume=False, overwrite=False, config="misspelt.py"))
    assert (tmp_path / "misspelt.py").exists()  # it is to be written again, and perhaps the one that is read
    work_dir.discard(work_dir.claim(tmp_path, resume=False, overwrite=False, config="other.py"))
    assert [path.name for path in tmp_path.iterdir()] == ["20260101_120000"]
    (tmp_path / "20260101_120000" / "vis_data" / "scalars.json").write_text("{}")  # a training without a checkpoint
    with pytest.raises(InputError, match="is not empty"):
        work_dir.claim(tmp_path, resume=False, overwrite=False)


def test_overwrite_removes_the_config_of_what_it_discards(tmp_path: Path) -> None:
    started(tmp_path, "former.py", "model = 5")
    (tmp_path / "epoch_3.pth").write_text("old")
    (tmp_path / "mine.py").write_text("model = 6")
    with pytest.raises(InputError, match=r"--overwrite would remove .*former\.py, which this training is to read"):
        work_dir.claim(tmp_path, resume=False, overwrite=True, needed=[str(tmp_path / "former.py")], config="new.py")
    work_dir.discard(work_dir.claim(tmp_path, resume=False, overwrite=True, config="new.py"))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.py"]


HOLD = """
import sys
from brs_detr.engine.running import work_dir
with work_dir.locked(sys.argv[1]):
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_one_training_at_a_time(tmp_path: Path) -> None:
    work = tmp_path / "work"
    command = [sys.executable, "-c", HOLD, str(work)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "locked\n"
        busy = rf"training \(process {other.pid} on .*\) writes to the work directory"
        with pytest.raises(InputError, match=busy), work_dir.locked(work):
            pass
        assert list(work.iterdir())
        other.kill()
        other.wait()
        with work_dir.locked(work):  # the file that it left is unlocked
            pass
    assert not list(work.iterdir())


def fail_in(folder: Path, writes: bool) -> None:
    with work_dir.locked(folder):
        if writes:
            (folder / "epoch_1.pth").write_text("weights")
        raise ValueError("wrong")


def test_a_folder_that_was_made_for_nothing_is_removed(tmp_path: Path) -> None:
    for writes in (False, True):
        with pytest.raises(ValueError, match="wrong"):
            fail_in(tmp_path / "dirs" / "work", writes)
        assert (tmp_path / "dirs").exists() == writes
    assert [path.name for path in (tmp_path / "dirs" / "work").iterdir()] == ["epoch_1.pth"]


def test_content_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "epoch_1.pth").write_text("weights")
    with pytest.raises(InputError, match="is not empty: continue its training with --resume"):
        work_dir.claim(tmp_path, resume=False, overwrite=False)
    work_dir.claim(tmp_path, resume=True, overwrite=False)
    assert (tmp_path / "epoch_1.pth").read_text() == "weights"
    with pytest.raises(InputError, match="is a file"), work_dir.locked(tmp_path / "epoch_1.pth"):
        pass


def test_overwrite_removes_what_training_wrote_and_no_more(tmp_path: Path) -> None:
    for name in ("epoch_3.pth", "best_coco_bbox_mAP_epoch_3.pth", "last_checkpoint", "curves.png"):
        (tmp_path / name).write_text("old")
    (tmp_path / "20260101_120000").mkdir()
    (tmp_path / "20260101_120000" / "run.log").write_text("old")
    for name in ("notes.txt", "my_model.pth"):
        (tmp_path / name).write_text("mine")
    work_dir.discard(work_dir.claim(tmp_path, resume=False, overwrite=True))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["my_model.pth", "notes.txt"]


@pytest.mark.parametrize("linked", [False, True])
def test_overwrite_keeps_what_is_to_be_loaded(tmp_path: Path, linked: bool) -> None:
    work = tmp_path / "work"
    work.mkdir()
    for name in ("epoch_3.pth", "last_checkpoint"):
        (work / name).write_text("old")
    needed = work / "epoch_3.pth"
    if linked:
        needed = tmp_path / "start.pth"
        needed.symlink_to(work / "epoch_3.pth")
    with pytest.raises(InputError, match=rf"--overwrite would remove {needed}, which this training is to read"):
        work_dir.claim(work, resume=False, overwrite=True, needed=["https://x.org/a.pth", "", str(needed)])
    assert sorted(path.name for path in work.iterdir()) == ["epoch_3.pth", "last_checkpoint"]
    work_dir.discard(
        work_dir.claim(work, resume=False, overwrite=True, needed=[str(work), str(tmp_path / "epoch_3.pth")])
    )
    assert not list(work.iterdir())


def test_a_folder_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    below = tmp_path / "file" / "work"
    with pytest.raises(InputError, match=r"cannot be written, for .*file is a file"), work_dir.locked(below):
        pass
