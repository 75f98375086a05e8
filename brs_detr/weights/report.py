"""What became of every tensor of a checkpoint and of the model."""

from dataclasses import dataclass, field

from brs_detr.errors import printable

CORE_ROWS = ("loaded", "renamed", "missing", "unexpected", "reshaped")  # shown also where they are empty
ROWS = (*CORE_ROWS, "mismatched", "fresh", "unused")
SHOWN = 3


@dataclass
class LoadReport:
    """Names by what happened to them.

    source: the kind of file that it was taken for.
    loaded: of the model, supplied by the file; `renamed` are those of them that had another name there.
    reshaped: class layers of the model that keep their own values: the file has another number of classes.
    fresh: of the model, which such a file never holds. unused: of the file, which no such model needs.
    missing: of the model, which the file should supply. unexpected: of the file, which should have a place.
    mismatched: of the model, where the file has another shape.
    """

    source: str = ""
    loaded: list[str] = field(default_factory=list)
    renamed: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    reshaped: list[str] = field(default_factory=list)
    fresh: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    mismatched: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether all that such a file should supply was used; another number of classes is no lack."""
        return bool(self.loaded) and not (self.missing or self.unexpected or self.mismatched)

    @property
    def lack(self) -> str:
        """What is missing, unexpected or of another shape, in one line; empty where nothing is."""
        parts = {"missing": self.missing, "unexpected": self.unexpected, "of another shape": self.mismatched}
        return "; ".join(f"{len(names)} {what} ({_some(names)})" for what, names in parts.items() if names)

    def __str__(self) -> str:
        shown = [row for row in ROWS if getattr(self, row) or row in CORE_ROWS]
        rows = [f"{row:<11}{len(getattr(self, row)):>5}  {_examples(self, row)}".rstrip() for row in shown]
        return "\n".join([self.source, *rows])


def _examples(report: LoadReport, row: str) -> str:
    """Names where they tell something; of what simply was loaded the number is enough."""
    return "" if row in ("loaded", "renamed") else _some(getattr(report, row))


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return printable(", ".join(names[:SHOWN])) + more
