"""Whether torch calls hooks around every module; torch has a function for it from 2.8 on."""

from __future__ import annotations

from torch.nn.modules import module

# Filled and emptied in place by torch.nn.modules.module.register_module_*_hook, never replaced.
_HOOKS = (
    module._global_backward_pre_hooks,
    module._global_backward_hooks,
    module._global_forward_pre_hooks,
    module._global_forward_hooks,
)


def has_global_hooks() -> bool:
    """Return whether a hook is registered for all modules.

    Example:
        >>> has_global_hooks()
        False
    """
    return any(_HOOKS)
