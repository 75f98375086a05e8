"""What was measured, on disk: gpu.json with the numbers as they are, and a page of tables for each part."""

import json
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from brs_detr.errors import InputError, printable
from brs_detr.files import write_json, write_text

from ..report import markdown
from .cases import Case, Part, Row, Value
from .isolation import Outcome

RAW = "gpu.json"
STATES = {"rows": list, "failed": str, "skipped": str, "began": bool}  # of a case, of which it is in one
DRY_RUN = "**A dry run**: small sizes on a CPU. The numbers say nothing."
Content = dict[str, Any]


class Results:
    """A folder of results: those of an earlier run on the same device and versions are gone on with.

    where: device and versions, see `environment.described`.

    Raises InputError if the folder holds results of another device, or something else in their place.
    """

    def __init__(self, folder: Path, where: dict[str, Value]) -> None:
        self.path, self.where, self.lock = folder / RAW, where, Lock()
        self.parts: dict[str, dict[str, Content]] = {}
        if self.path.exists():
            earlier, self.parts = read(self.path)
            if earlier != where:
                changed = (f"{key} {earlier.get(key)}" for key in earlier | where if earlier.get(key) != where.get(key))
                raise InputError(
                    f"{self.path} was measured with {', '.join(changed)}: give --out another folder, or remove it."
                )

    def state(self, part: Part, case: Case) -> Content:
        return self.parts.get(part.name, {}).get(case.name, {})

    def has(self, part: Part, case: Case) -> bool:
        """Whether its rows are there."""
        return "rows" in self.state(part, case)

    def began(self, part: Part, case: Case) -> bool:
        """Whether it was under way when a run ended."""
        return "began" in self.state(part, case)

    def begin(self, part: Part, case: Case) -> None:
        self._put(part, case, {"began": True})
        print(f"{part.name}: {case.name} ...", flush=True)

    def skip(self, part: Part, case: Case, why: str) -> None:
        if not self.state(part, case):
            self._put(part, case, {"skipped": why})
        print(f"{part.name}: {case.name} is left out: {why}", flush=True)

    def end(self, part: Part, case: Case, outcome: Outcome, seconds: float) -> None:
        state: Content = {"rows": outcome.rows} if outcome.failed is None else {"failed": outcome.failed}
        self._put(part, case, {**state, "seconds": round(seconds, 1)})
        print(f"{part.name}: {case.name}: {printable(outcome.failed or f'{seconds:.1f} s')}", flush=True)

    def forget(self, part: str) -> None:
        """So that it is measured again."""
        self.parts.pop(part, None)

    def rows(self, part: str) -> list[Row]:
        return [row for state in self.parts.get(part, {}).values() for row in state.get("rows", [])]

    def missing(self, part: str) -> dict[str, str]:
        """The cases of a part without rows, and why."""
        return {name: reason(state) for name, state in self.parts.get(part, {}).items() if "rows" not in state}

    def _put(self, part: Part, case: Case, state: Content) -> None:
        with self.lock:  # cases end side by side
            self.parts.setdefault(part.name, {})[case.name] = state
            write_json(self.path, {"where": self.where, "parts": self.parts}, indent=1)
            write_text(self.path.with_name(f"gpu_{part.name}.md"), self.page(part))

    def page(self, part: Part) -> str:
        command = f"By `python -m benchmarks.gpu --only {part.name}`.\n{part.title}"
        missing = [f"- {name}: {why}" for name, why in self.missing(part.name).items()]
        tables = [table(rows) for rows in alike(self.rows(part.name))]
        blocks = [
            sentence(self.where),
            command,
            *tables,
            *(["Not measured:\n" + "\n".join(missing)] if missing else []),
        ]
        return "\n\n".join([*([DRY_RUN] if self.where["dry run"] else []), *blocks]) + "\n"


def sentence(where: dict[str, Value]) -> str:
    """Device and versions."""
    known = [(key, value) for key, value in where.items() if value and key != "dry run"]
    return ", ".join(str(value) if key == "device" else f"{key} {value}" for key, value in known)


def reason(state: Content) -> str:
    if "began" in state:
        return "a run was ended while it was measured; it comes last when the command is given again."
    return state.get("failed") or f"left out, {state['skipped']}"


def alike(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows of the same columns, which make one table."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row), []).append(row)
    return list(groups.values())


def table(rows: Sequence[Row]) -> str:
    return markdown(list(rows[0]), [[shown(value) for value in row.values()] for row in rows])


def shown(value: Value) -> str:
    """Numbers with three digits."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "**no**"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else value


def read(path: Path) -> tuple[dict[str, Value], dict[str, dict[str, Content]]]:
    """Where it was measured, and the states of the cases by part. Raises InputError for any other file."""
    try:
        content = json.loads(path.read_text())
        where, parts = content["where"], content["parts"]
        valid = all(is_state(state) for cases in parts.values() for state in cases.values()) and is_row(where)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        valid = False
    if not valid:
        raise InputError(f"{path} is not what this command wrote: give --out another folder, or remove it.")
    return where, parts


def is_state(state: Any) -> bool:
    found = [kind for kind in STATES if kind in state]
    return len(found) == 1 and isinstance(state[found[0]], STATES[found[0]]) and all(map(is_row, state.get("rows", [])))


def is_row(row: Any) -> bool:
    return isinstance(row, dict) and all(isinstance(value, Value) for value in row.values())
