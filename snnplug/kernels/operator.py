"""A kernel as an operator of torch, and without the operator where nothing needs to see one.

A compiler, an exporter or a mode that watches must meet an operator: a name, a schema, a fake. To
call one from Python takes 0.2 ms here, several times what a small kernel itself takes, so where
nothing watches the kernel is called as an ``autograd.Function``, with the same backward rule.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor
from torch.nn import Parameter

from snnplug.errors import BackendError

_PLAIN = (Tensor, Parameter)
# What inputs are made of where none is a kind of tensor of its own.
_USUAL = frozenset((*_PLAIN, type(None), bool, int, float, str, list))


@final
class Operator:
    """A function of tensors that torch knows by name; :func:`operator` makes it.

    Args:
        name: ``"namespace::name"``.
        kernel: What it does: annotated, without changes to its inputs, its outputs fresh.
    """

    def __init__(self, name: str, kernel: Callable[..., Any]) -> None:
        self._kernel = kernel
        #: The operator as torch has it, for ``torch.library.opcheck``.
        self.registered = torch.library.custom_op(name, kernel, mutates_args=())
        self._direct: Callable[..., Any] = kernel
        # Of a backward rule that is the derivative of the derivative; a result without one would
        # pass for a constant.
        self.register_autograd(_refuse, lambda ctx, inputs, output: None)

    def register_fake(self, fake: Callable[..., Any]) -> None:
        """Tell torch the shapes of the outputs."""
        self.registered.register_fake(fake)

    def register_autograd(
        self, vjp: Callable[..., Any], setup: Callable[[Any, tuple[Any, ...], Any], None]
    ) -> None:
        """Tell torch the backward rule.

        Args:
            vjp: Takes the context and the gradients of the outputs, returns those of the inputs.
            setup: Takes the context, the inputs and the outputs, and keeps what ``vjp`` needs.
        """
        self.registered.register_autograd(vjp, setup_context=setup)
        kernel = self._kernel

        def forward(ctx: Any, *inputs: Any) -> Any:
            output = kernel(*inputs)
            setup(ctx, inputs, output)
            return output

        rules = {"forward": staticmethod(forward), "backward": staticmethod(vjp)}
        # Of the operator's name, which profilers show.
        function: Any = type(self.registered._name, (torch.autograd.Function,), rules)
        self._direct = function.apply

    def __call__(self, *inputs: Any) -> Any:
        """Return what the kernel makes of the inputs."""
        if torch.compiler.is_compiling() or _is_watched(inputs):
            return self.registered(*inputs)
        return self._direct(*inputs) if torch.is_grad_enabled() else self._kernel(*inputs)


def operator(name: str) -> Callable[[Callable[..., Any]], Operator]:
    """Return a decorator that makes an :class:`Operator` of this name out of a kernel."""
    return lambda kernel: Operator(name, kernel)


def _refuse(ctx: Any, *grads: Any) -> Any:
    """Say that there is no rule; where it is a backward rule's, that is the second derivative."""
    raise BackendError(
        "snnplug's neurons and layers have first derivatives only; a gradient penalty or a Hessian "
        "takes snnTorch's neurons and torch's layers"
    )


def _is_watched(inputs: tuple[Any, ...]) -> bool:
    """Whether a mode, a transform or a kind of tensor of its own has to see an operator."""
    return (
        torch._C._len_torch_dispatch_stack() > 0
        or torch._C._len_torch_function_stack() > 0
        or torch._C._are_functorch_transforms_active()
        or not (
            _USUAL.issuperset(map(type, inputs))
            or all(type(x) in _PLAIN for x in inputs if isinstance(x, Tensor))
        )
    )
