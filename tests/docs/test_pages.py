"""The pages lead somewhere: links, commands, paths, code blocks, and the names of what computes what."""

import ast
import importlib.util
import re
from pathlib import Path

import pytest

from benchmarks import illustrations

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDERS = ("benchmarks", "brs_detr/heads", "checkpoints")
PAGES = [
    *(ROOT / page for page in ("README.md", "CONTRIBUTING.md")),
    *sorted(ROOT.glob("docs/*.md")),
    *(ROOT / folder / "README.md" for folder in FOLDERS),
]
LOSSES = ROOT / "brs_detr" / "losses"

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
COMMAND = re.compile(r"\b(?:python (?:-m ([\w.]+)|([\w./-]+))|bash ([\w./-]+))")
FILE = re.compile(r"[\w./{},*-]*/[\w./{},*-]+\.(?:py|sh|md|csv|json|jpg|png)")
NAME = re.compile(r"[A-Za-z_]\w*(?:\.\w+)?")


def wrong_links(page: Path, text: str) -> list[str]:
    """Relative links without a file, or with an anchor that is no heading of it."""
    wrong = []
    for link in LINK.findall(SPAN.sub("", BLOCK.sub("", text))):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if "://" in link:
            continue
        if not target.exists() or (anchor and anchor not in anchors(text if not path else target.read_text())):
            wrong.append(link)
    return wrong


def anchors(text: str) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", BLOCK.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def wrong_commands(text: str) -> list[str]:
    """Scripts and modules that do not exist, of code blocks and of commands in sentences."""
    wrong = []
    for module, *scripts in COMMAND.findall(code(text)):
        script = "".join(scripts)
        if (module and importlib.util.find_spec(module) is None) or (script and not (ROOT / script).is_file()):
            wrong.append(module or script)
    return wrong


def code(text: str) -> str:
    """Fenced and indented blocks, and code within sentences."""
    indented = re.findall(r"^    .+$", text, re.MULTILINE)
    return "\n".join([*(body for _, body in BLOCK.findall(text)), *indented, *SPAN.findall(BLOCK.sub("", text))])


def wrong_files(page: Path, text: str) -> list[str]:
    """Paths in code that name no file, seen from the top, the page's folder or configs/; data are the reader's."""
    found = [path for path in FILE.findall(code(text)) if not path.startswith(("data/", "work_dirs/"))]
    folders = (ROOT, page.parent, ROOT / "configs")
    return [p for p in found if not all(any(any(f.glob(one)) for f in folders) for one in expanded(p))]


def expanded(path: str) -> list[str]:
    """Patterns for a path with {alternatives}, and with PREFIXname for any name."""
    path = path.replace("PREFIXname", "*")
    braces = re.search(r"\{([^}]*)\}", path)
    if braces is None:
        return [path]
    return [one for part in braces[1].split(",") for one in expanded(path.replace(braces[0], part, 1))]


def wrong_code(text: str) -> list[str]:
    """Blocks of Python that do not compile."""
    wrong = []
    for language, body in BLOCK.findall(text):
        try:
            if language == "python":
                compile(body, "page", "exec")
        except SyntaxError:
            wrong.append(body)
    return wrong


def wrong_names(text: str) -> list[str]:
    """Names in code that nothing in brs_detr.losses has."""
    known = names_of_losses()
    return [span for span in SPAN.findall(BLOCK.sub("", text)) if NAME.fullmatch(span) and span not in known]


def names_of_losses() -> set[str]:
    """Top-level names, Class.member, arguments, and file names. Sources are read: kernels import Triton."""
    known = {"brs_detr.losses"}
    for path in LOSSES.rglob("*.py"):
        known.add(path.name)
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef):
                known |= {node.name, *(f"{node.name}.{member}" for member in members(node))}
            elif isinstance(node, ast.FunctionDef):
                known |= {node.name, *(a.arg for a in node.args.args + node.args.kwonlyargs)}
            elif isinstance(node, ast.Assign):
                known |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return known


def members(node: ast.ClassDef) -> set[str]:
    """Methods, fields, and attributes that methods give to self."""
    found = {part.name for part in node.body if isinstance(part, ast.FunctionDef)}
    found |= {
        part.target.id for part in node.body if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)
    }
    stored = (part for part in ast.walk(node) if isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Store))
    return found | {part.attr for part in stored}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_page(page: Path) -> None:
    text = page.read_text()
    assert wrong_links(page, text) == []
    assert wrong_commands(text) == []
    assert wrong_files(page, text) == []
    assert wrong_code(text) == []
    assert max(map(len, filter(lambda line: line[:1] not in ("|", "$"), text.splitlines()))) <= 120


def test_every_name_in_the_mathematics_is_one_of_ours() -> None:
    assert wrong_names((ROOT / "docs" / "losses.md").read_text()) == []


def test_what_is_wrong_is_found() -> None:
    page = ROOT / "docs" / "losses.md"
    assert wrong_links(page, "# One\n[a](nowhere.md) [b](#one) [c](#two) [d](../README.md#none)") == [
        "nowhere.md",
        "#two",
        "../README.md#none",
    ]
    assert wrong_commands(
        "`python -m benchmarks.nothing`\n\n    bash scripts/nothing.sh\n    python scripts/test.py"
    ) == [
        "scripts/nothing.sh",
        "benchmarks.nothing",
    ]
    assert wrong_files(
        page, "`configs/atss/nothing.py` `atss/{atss,nothing}_tiny_digits.py` `atss/*_tiny_digits.py`"
    ) == [
        "configs/atss/nothing.py",
        "atss/{atss,nothing}_tiny_digits.py",
    ]
    assert wrong_code("```python\nx = (\n```\n```python\nx = 1\n```\n") == ["x = (\n"]
    assert wrong_names("`RankSort` `BreakPoints.nothing` `BreakPoints.rounding` `share`") == [
        "RankSort",
        "BreakPoints.nothing",
    ]


def test_figures_are_drawn_and_the_example_is_as_printed(tmp_path: Path) -> None:
    illustrations.draw_break_points(tmp_path / "a.png")
    illustrations.draw_buckets(tmp_path / "b.png")
    assert all((tmp_path / name).stat().st_size > 10_000 for name in ("a.png", "b.png"))
    text = (ROOT / "docs" / "losses.md").read_text()
    assert set(re.findall(r"\d\.\d{4}", illustrations.example(0.5))) <= set(re.findall(r"\d\.\d{4}", text))
