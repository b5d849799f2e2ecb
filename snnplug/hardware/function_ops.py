"""Seeing what a ``forward`` computes with functions and operators, which hooks cannot see."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack

#: Called with the name of a function, its arguments, its result, and whether a machine computes it.
Seen = Callable[[str, tuple[Any, ...], dict[str, Any], Any, bool], None]

ADDITIONS = frozenset(
    [
        "add",
        "add_",
        "__add__",
        "__radd__",
        "__iadd__",
        "sub",
        "sub_",
        "subtract",
        "__sub__",
        "__rsub__",
        "__isub__",
        "rsub",
    ]
)
SUMS = frozenset(("sum", "mean"))

# Nothing that a machine computes.
_FREE = frozenset(
    (
        # They describe a tensor,
        *("__bool__", "__deepcopy__", "__dir__", "__float__", "__format__", "__get__", "__hash__"),
        *("__index__", "__int__", "__iter__", "__len__", "__repr__", "__set__", "_is_view"),
        *("backward", "dim", "element_size", "get_device", "has_names", "is_complex"),
        *(
            "is_contiguous",
            "is_floating_point",
            "is_inference",
            "is_nonzero",
            "is_same_size",
            "item",
        ),
        *("ndimension", "nelement", "numel", "register_hook", "requires_grad_", "retain_grad"),
        *("size", "storage_offset", "stride", "untyped_storage"),
        # move its values or change their format,
        *("__getitem__", "__setitem__", "as_strided", "atleast_1d", "atleast_2d", "bfloat16"),
        *("broadcast_tensors", "broadcast_to", "cat", "chunk", "clone", "concat", "concatenate"),
        *("contiguous", "cpu", "cuda", "detach", "detach_", "double", "expand", "expand_as"),
        *("flatten", "flip", "float", "gather", "half", "hstack", "index_select", "int", "long"),
        *("moveaxis", "movedim", "narrow", "pad", "permute", "repeat", "repeat_interleave"),
        *("reshape", "reshape_as", "roll", "select", "split", "split_with_sizes", "squeeze"),
        *("squeeze_", "stack", "swapaxes", "swapdims", "t", "take", "tensor_split", "tile", "to"),
        *(
            "transpose",
            "type",
            "type_as",
            "unbind",
            "unflatten",
            "unfold",
            "unsqueeze",
            "unsqueeze_",
        ),
        *("view", "view_as", "vstack"),
        # fill it with constants,
        *("arange", "as_tensor", "copy_", "empty", "empty_like", "fill_", "full", "full_like"),
        *("new_empty", "new_full", "new_ones", "new_tensor", "new_zeros", "ones", "ones_like"),
        *("tensor", "zero_", "zeros", "zeros_like"),
        # or do nothing at inference.
        *(
            "alpha_dropout",
            "dropout",
            "dropout1d",
            "dropout2d",
            "dropout3d",
            "feature_alpha_dropout",
        ),
    )
)
_RANDOM = ("rand", "bernoulli", "normal", "poisson", "multinomial")


class _Mode(TorchFunctionMode):
    """Shows functions to all watches of a thread at once, in whatever order they come and go."""

    def __init__(self) -> None:
        super().__init__()
        self._watches: list[FunctionWatch] = []
        self._is_on = False

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run the function and show it."""
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        for watch in tuple(self._watches):
            watch.see(getattr(func, "__name__", str(func)), args, kwargs, out)
        return out

    def switch(self, watch: FunctionWatch, wanted: bool) -> None:
        """Show functions to a watch, or no longer."""
        if wanted and watch not in self._watches:
            self._watches.append(watch)
        elif not wanted and watch in self._watches:
            self._watches.remove(watch)
        if self._watches and not self._is_on:
            self.__enter__()  # type: ignore[no-untyped-call]
            self._is_on = True
        elif self._is_on and not self._watches:
            # Under a mode that the forward itself has entered, ours stays and shows nothing.
            stack = _get_current_function_mode_stack()  # type: ignore[no-untyped-call]
            if stack[-1] is self:
                self.__exit__(None, None, None)
                self._is_on = False


class _OfThread(threading.local):
    """A mode for each thread: torch keeps the modes that are on by thread."""

    def __init__(self) -> None:
        self.mode = _Mode()


_of_thread = _OfThread()


class FunctionWatch:
    """Reports torch functions that run while a network does, but not inside counted modules.

    What it cannot see is work outside torch on memory that was taken before.

    Args:
        seen: Is told of each function.
        enough: Calls of the network without anything to report that show that it has no functions.
    """

    def __init__(self, seen: Seen, enough: int = 1) -> None:
        self._silent_calls_left = enough
        self.calls = 0
        self.reports = 0
        self._seen = seen
        self._networks = 0
        self._pauses = 0
        #: Whether the network is known to have no function to report.
        self.is_over = False

    def see(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        """Take note of a function that has run, and report it."""
        self.calls += 1
        works = name not in _FREE and _works(name, args, kwargs)
        self.reports += works
        self._seen(name, args, kwargs, out, works)

    def enter_network(self) -> None:
        """Begin to watch; calls may nest."""
        if not self.is_over:
            self._networks += 1
            self._switch()

    def leave_network(self, completed: bool) -> None:
        """End what :meth:`enter_network` began.

        A network that has come to its end without any such function, often enough, has none: from
        then on nothing is watched, which saves the time.
        """
        if self.is_over:
            return
        # At least 0: what a raising hook has kept from beginning is ended all the same.
        self._networks = max(0, self._networks - 1)
        if completed and not self._networks and not self.reports:
            self._silent_calls_left -= 1
            self.is_over = self._silent_calls_left <= 0
        self._switch()

    def pause(self) -> None:
        """Look away: a module runs that is counted as a whole."""
        self._pauses += 1
        self._switch()

    def resume(self) -> None:
        """End what :meth:`pause` began."""
        self._pauses = max(0, self._pauses - 1)
        self._switch()

    def stop(self) -> None:
        """Watch no longer, whatever was begun."""
        self._networks = self._pauses = 0
        self._switch()

    def _switch(self) -> None:
        wanted = self._networks > 0 and self._pauses == 0 and not self.is_over
        _of_thread.mode.switch(self, wanted)


def _works(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether values that a network computes with take part."""
    return name.startswith(_RANDOM) or any(map(_is_real, (*args, *kwargs.values())))


def _is_real(value: Any) -> bool:
    if isinstance(value, Tensor):
        return bool(value.is_floating_point())
    return isinstance(value, list | tuple) and any(map(_is_real, value))


def additions(name: str, args: tuple[Any, ...], out: Any) -> int:
    """Return how many additions a function of :data:`ADDITIONS` or :data:`SUMS` took."""
    if name in ADDITIONS:
        return out.numel() if isinstance(out, Tensor) else 0
    total = args[0] if args and isinstance(args[0], Tensor) else None
    return max(0, total.numel() - out.numel()) if total is not None else 0
