"""The page as one file: content, style and program inside it, so that nothing is fetched from anywhere."""

import base64
import hashlib
import json
import math
from importlib import resources
from pathlib import Path
from typing import Any

from brs_detr.errors import InputError
from brs_detr.files import check_destination, write_text

TEMPLATE = resources.files("brs_detr.engine.report") / "template"
PROGRAMS = ("dom.js", "charts.js", "evaluation.js", "images.js", "ranking.js", "page.js")
BEGINNING = "<!DOCTYPE html>\n<!-- A report of BRS-DETR -->\n"


def check_out(path: Path) -> None:
    """Raises InputError if the page cannot be written there, or would take the place of something else."""
    check_destination(path)
    if path.exists() and path.stat().st_size:
        with path.open("rb") as file:
            if not file.read(len(BEGINNING)) == BEGINNING.encode():
                raise InputError(f"{path} holds something other than a report: give --out another file.")


def as_json(content: Any) -> str:
    """JSON in which no sign can end the element that holds it. Values that are not finite become null."""
    text = json.dumps(_rounded(content), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _rounded(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _rounded(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_rounded(value) for value in content]
    if isinstance(content, float):
        return float(f"{content:.5g}") if math.isfinite(content) else None
    return content


def page(content: dict[str, Any]) -> str:
    """The HTML of the page. Its program alone may run, and nothing may be loaded: the policy in it says so."""
    program = "".join((TEMPLATE / name).read_text(encoding="utf-8") for name in PROGRAMS)
    digest = base64.b64encode(hashlib.sha256(program.encode()).digest()).decode()
    parts = {
        "POLICY": f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'",
        "STYLE": (TEMPLATE / "page.css").read_text(encoding="utf-8"),
        "PROGRAM": program,
        "CONTENT": as_json(content),
    }
    pieces = (TEMPLATE / "page.html").read_text(encoding="utf-8").split("@@")  # text, name, text, name, ..., text
    return BEGINNING + "".join(parts[piece] if k % 2 else piece for k, piece in enumerate(pieces))


def write(path: Path, content: dict[str, Any]) -> None:
    write_text(path, page(content))
