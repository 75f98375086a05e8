"""Reading pickles by calling nothing but a given table of constructors.

torch's restricted unpickler (``weights_only``) has a table of its own that cannot be made shorter: it builds sparse,
quantised or uninitialised tensors, resizes storages, and sets attributes of what it has built. This one knows the
operations that torch.save writes, looks through all names before it does anything, and does in the order of the
file's size whatever the file asks for.
"""

import pickle
import pickletools
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any

import numpy as np

MOST_OPERATIONS = 2_000_000  # of a pickle; the checkpoint of a Swin-L detector with its optimiser has 0.1 million
REPEATS = 8  # arguments may be named again, but not to multiply a short pickle
PYTHON_2 = {"__builtin__": "builtins"}  # protocol 2 names it so
SIMPLE = (str, bytes, int, float, type(None), np.number, np.bool_)  # as keys; bool is an int

CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
CONTAINERS: dict[str, Callable[[], Any]] = {"EMPTY_LIST": list, "EMPTY_DICT": dict}
LITERALS = ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINSTRING")
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
PUTS, GETS = ("BINPUT", "LONG_BINPUT"), ("BINGET", "LONG_BINGET")
CUT = re.compile("exhausted|remain|not enough|no newline")  # in pickletools' messages
OBJECTS = ("STACK_GLOBAL", "INST", "OBJ", "EXT1", "EXT2", "EXT4", "NEWOBJ_EX")


class Refused(pickle.UnpicklingError):
    """The file asks for something that no checkpoint needs; the message says for what."""


class CutError(EOFError):
    """The pickle ends before it should."""


def would_call(names: str) -> Refused:
    return Refused(
        f"it would call {names}, and a checkpoint must not run code. If it is yours, save its state_dict alone"
    )


def shown(value: object) -> str:
    """A value of the file for messages: never the whole of a container, which may hold itself."""
    if isinstance(value, (str, bytes)):
        return repr(value[:50])
    return value.__name__ if isinstance(value, type) else f"a {type(value).__name__}"


class StandIn:
    """What a name in the table builds instead of the class of that name; filled by its state."""

    def restore(self, state: Any) -> None:
        raise Refused(f"it holds a {type(self).__name__.lower()} with a state of its own")


def check_key(value: object) -> Any:
    """A key of a dict or member of a set: text, a number, or a tuple of these.

    Raises:
        Refused: anything else, such as tuples in each other by the thousand, whose hash would overflow the stack, or
            integers so large that many have the same hash.
    """
    parts = value if type(value) is tuple else (value,)
    if any(isinstance(part, int) and abs(part) >= 2**60 for part in parts):
        raise Refused("it holds an integer beyond all counts as a key")
    if not all(isinstance(part, SIMPLE) for part in parts):
        raise Refused(f"it holds a key that is neither text nor a number but a {type(value).__name__}")
    return value


def operations(file: IO[bytes]) -> Iterator[tuple[str, Any]]:
    """The operations of the next pickle; the file stands behind it afterwards."""
    try:
        for number, (operation, argument, _) in enumerate(pickletools.genops(file)):
            if number > MOST_OPERATIONS:
                raise Refused(f"it holds more than {MOST_OPERATIONS} objects beside its weights")
            yield operation.name, argument
    except ValueError as error:
        raise (CutError if CUT.search(str(error)) else pickle.UnpicklingError)(str(error)) from None


def full_name(argument: str) -> str:
    module, _, name = argument.partition(" ")
    return f"{PYTHON_2.get(module, module)}.{name}"


def check_names(file: IO[bytes], table: Mapping[str, Any]) -> None:
    """Look through the next pickle, without doing anything of what it says.

    Raises:
        Refused: it names what is not in the table, or in a way that torch.save does not.
    """
    found = set()
    for operation, argument in operations(file):
        if operation == "GLOBAL":
            found.add(full_name(argument))
        elif operation in OBJECTS:
            raise would_call("an object of its own")
    if unknown := sorted(found - table.keys()):
        more = f" and {len(unknown) - 8} more" if len(unknown) > 8 else ""
        raise would_call(", ".join(name[:100] for name in unknown[:8]) + more)


class Unpickler:
    """One pickle.

    Args:
        table: what each name stands for: constants, and functions and stand-ins that may be called.
        persistent: what a persistent id stands for; torch.save names storages so.
    """

    def __init__(self, table: Mapping[str, Any], persistent: Callable[[Any], Any]) -> None:
        self.table, self.persistent = table, persistent
        self.callable = {id(value) for value in table.values() if callable(value)}
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.done = self.repeated = 0

    def load(self, file: IO[bytes]) -> Any:
        """The content of the next pickle.

        Raises:
            Refused: it asks for more than tables of numbers. CutError: it is cut. Anything else: it is damaged.
        """
        start = file.tell()
        for operation, argument in operations(file):
            if operation == "STOP":
                return self.stack.pop()
            self.done = file.tell() - start
            self._do(operation, argument)
        raise CutError("no end")

    def _do(self, operation: str, argument: Any) -> None:
        if operation in LITERALS:
            text_of_python_2 = operation == "SHORT_BINSTRING"
            self.stack.append(argument.encode("latin-1").decode() if text_of_python_2 else argument)
        elif operation in PUTS:
            self.memo[argument] = self.stack[-1]
        elif operation in GETS:
            self.stack.append(self.memo[argument])
        elif operation in CONSTANTS:
            self.stack.append(CONSTANTS[operation])
        elif operation in CONTAINERS:
            self.stack.append(CONTAINERS[operation]())
        elif operation in TUPLES:
            count = TUPLES[operation]
            self.stack[-count:] = [tuple(self.stack[-count:])]
        elif operation == "GLOBAL":
            self.stack.append(self.table[full_name(argument)])
        elif operation != "PROTO":
            method = getattr(self, f"_{operation.lower()}", None)
            if method is None:
                raise Refused(f"it holds the operation {operation}, which torch.save does not write")
            method()

    def _mark(self) -> None:
        self.marks.append(self.stack)
        self.stack = []

    def _since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marks.pop()
        return items

    def _tuple(self) -> None:
        items = self._since_mark()
        self.stack.append(tuple(items))

    def _binpersid(self) -> None:
        self.stack.append(self.persistent(self.stack.pop()))

    def _reduce(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if id(function) not in self.callable or type(arguments) is not tuple:
            raise would_call(shown(function))
        self._repeat(arguments)
        self.stack.append(function(*arguments))

    def _newobj(self) -> None:
        arguments, kind = self.stack.pop(), self.stack.pop()
        if not (isinstance(kind, type) and issubclass(kind, StandIn)) or arguments != ():
            raise would_call(shown(kind))
        self.stack.append(kind())

    def _build(self) -> None:
        state, instance = self.stack.pop(), self.stack[-1]
        if isinstance(instance, StandIn):
            self._repeat(state)
            instance.restore(state)
        elif type(instance) is not OrderedDict:
            raise Refused(f"it changes a {type(instance).__name__}")
        elif isinstance(state, dict) and isinstance(state.get("_metadata"), dict):  # the versions of torch's modules
            vars(instance)["_metadata"] = state["_metadata"]

    def _append(self) -> None:
        self._extend([self.stack.pop()])

    def _appends(self) -> None:
        self._extend(self._since_mark())

    def _extend(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise Refused(f"it appends to a {type(self.stack[-1]).__name__}")
        self.stack[-1].extend(items)

    def _setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._update([key, value])

    def _setitems(self) -> None:
        self._update(self._since_mark())

    def _update(self, items: list[Any]) -> None:
        if type(self.stack[-1]) not in (dict, OrderedDict):
            raise Refused(f"it sets an entry of a {type(self.stack[-1]).__name__}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            self.stack[-1][check_key(key)] = value

    def _repeat(self, arguments: Any) -> None:
        """Count what a call may copy: named again and again, it would fill any memory."""
        parts = arguments.values() if isinstance(arguments, dict) else arguments
        parts = parts if isinstance(parts, (tuple, type({}.values()))) else ()
        self.repeated += sum(len(part) for part in parts if isinstance(part, (str, bytes, tuple, list, dict)))
        if self.repeated > REPEATS * (self.done + 1000):
            raise Refused("it names the same content again and again")
