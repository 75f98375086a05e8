"""Errors that are the input's fault; their messages say what is wrong, and the remedy."""


class InputError(ValueError):
    """Something given (a file, a folder, an option) cannot be used; the message says what, and the remedy."""


class CheckpointError(InputError):
    """A checkpoint cannot be read, or does not belong to the model."""


class IncompleteError(InputError):
    """Some of what was given cannot be used; the message lists it, and everything else has been done."""


def sentence(error: InputError) -> str:
    """The message alone, a line for each argument: a data loader's worker sends it at the end of its traceback."""
    lines = (str(line).strip().rsplit(f"{InputError.__name__}: ", 1)[-1] for line in error.args)
    return "\n".join(map(printable, lines))


def printable(text: str) -> str:
    """The text with escapes for what a terminal would obey: names of files, tensors and classes may hold anything."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)
