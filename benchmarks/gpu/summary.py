"""A paragraph for the README, of what was measured and nothing else."""

from collections.abc import Iterator

from .cases import Row
from .loss_times import IN_CALLS
from .results import DRY_RUN, Results, sentence, shown


def paragraph(results: Results) -> str:
    """Device and versions, and a sentence for each part that has rows."""
    sentences = [each for each in (checks(results), losses(results), *steps(results), digits(results)) if each]
    text = f"Measured on {sentence(results.where)}, by `python -m benchmarks.gpu`. {' '.join(sentences)}\n"
    return f"{DRY_RUN}\n\n{text}" if results.where["dry run"] else text


def problems(results: Results) -> list[str]:
    """What is wrong, and what failed, a sentence each."""
    rows = checked(results)
    wrong = sum(not row.get("agrees") for row in rows)
    sentences = [f"{wrong} of {len(rows)} results do not agree with the CPU's: see gpu_losses.md, gpu_operators.md."]
    failed = [
        f"{part}: {name}: {state['failed']}"
        for part, cases in results.parts.items()
        for name, state in cases.items()
        if "failed" in state
    ]
    return [*(sentences if wrong else []), *failed]


def checked(results: Results) -> list[Row]:
    return results.rows("losses") + results.rows("operators")


def checks(results: Results) -> str:
    rows = checked(results)
    if not rows:
        return ""
    agree, repeat = (sum(bool(row.get(column)) for row in rows) for column in ("agrees", "bit for bit"))
    return (
        f"Of {len(rows)} comparisons of losses and operators with float64 on the CPU, {agree} agree; {repeat} repeat "
        "bit for bit."
    )


def losses(results: Results) -> str:
    times = {row["method"]: row for row in results.rows("times") if "method" in row}
    if IN_CALLS not in times:
        return ""
    others = ", ".join(f"{name} {shown(row['multiple'])}" for name, row in times.items() if name != IN_CALLS)
    own = shown(times[IN_CALLS]["ms"])
    return f"The losses of a BRS-DETR R50 step of 4 images take {own} ms; in multiples of that, {others}."


def steps(results: Results) -> Iterator[str]:
    """Of each detector with ResNet-50 in each precision, by the quicker back end of deformable attention."""
    rows = [row for row in results.rows("steps") if row.get("backbone") == "r50" and row["activations"] == "kept"]
    for key in dict.fromkeys((row["detector"], row["precision"]) for row in rows):
        alike = [row for row in rows if (row["detector"], row["precision"]) == key]
        row = min(alike, key=lambda each: float(each["iteration, ms"] or "inf"))
        yield (
            f"A step of {row['detector']} r50 in {row['precision']} takes {shown(row['iteration, ms'])} ms and "
            f"{shown(row['peak, GB'])} GB by {row['attention']}; {shown(row['losses, %'])} % of the time in the losses."
        )


def digits(results: Results) -> str:
    found = [f"{shown(row['AP'])} in {row['precision']} ({shown(row['s, all'])} s)" for row in results.rows("digits")]
    return f"AP on the digits is {', '.join(found)}." if found else ""
