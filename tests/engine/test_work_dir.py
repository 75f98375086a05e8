"""A work directory with content is never written over unless asked."""

from pathlib import Path

import pytest

from brs_detr.engine.running import work_dir
from brs_detr.errors import InputError


def test_new_and_empty_folders_are_free(tmp_path: Path) -> None:
    work_dir.claim(tmp_path / "new", resume=False, overwrite=False)
    work_dir.claim(tmp_path, resume=False, overwrite=False)


def test_content_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "epoch_1.pth").write_text("weights")
    with pytest.raises(InputError, match="is not empty: continue its training with --resume"):
        work_dir.claim(tmp_path, resume=False, overwrite=False)
    work_dir.claim(tmp_path, resume=True, overwrite=False)
    assert (tmp_path / "epoch_1.pth").read_text() == "weights"
    with pytest.raises(InputError, match="is a file"):
        work_dir.claim(tmp_path / "epoch_1.pth", resume=True, overwrite=True)


def test_overwrite_removes_what_training_wrote_and_no_more(tmp_path: Path) -> None:
    for name in ("epoch_3.pth", "best_coco_bbox_mAP_epoch_3.pth", "last_checkpoint", "curves.png"):
        (tmp_path / name).write_text("old")
    (tmp_path / "20260101_120000").mkdir()
    (tmp_path / "20260101_120000" / "run.log").write_text("old")
    for name in ("notes.txt", "my_model.pth"):
        (tmp_path / name).write_text("mine")
    work_dir.claim(tmp_path, resume=False, overwrite=True)
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
    work_dir.claim(work, resume=False, overwrite=True, needed=[str(work), str(tmp_path / "epoch_3.pth")])
    assert not list(work.iterdir())


def test_a_folder_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be written, for .*file is a file"):
        work_dir.claim(tmp_path / "file" / "work", resume=False, overwrite=False)
