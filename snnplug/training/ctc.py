"""Several classes one after the other: a loss that needs no place of each, and the decision."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from snnplug.errors import ArgumentError


def window_sums(out: Tensor, window_steps: int) -> Tensor:
    """Return the sums over windows of time: ``(T, B, C)`` → ``(ceil(T / window_steps), B, C)``.

    Example:
        >>> window_sums(torch.ones(5, 1, 1), 2).flatten().tolist()
        [2.0, 2.0, 1.0]
    """
    missing = -len(out) % window_steps
    if missing:
        out = torch.cat([out, out.new_zeros(missing, *out.shape[1:])])
    return out.view(-1, window_steps, *out.shape[1:]).sum(1)


def ctc(
    out: Tensor,
    targets: Tensor,
    lengths: Tensor,
    counts: Tensor,
    window_steps: int = 1,
    scale: float = 1.0,
) -> Tensor:
    r"""Return the connectionist temporal classification loss of outputs, summed in windows.

    .. math::
        L = \operatorname{mean}_b \left( -\frac{1}{L_b} \log \sum_{\pi \to y_b} \prod_k
        \operatorname{softmax}_c(z_{bc}[k])_{\pi_k} \right), \qquad
        z_{bc}[k] = \gamma \sum_{t = k w}^{(k + 1) w - 1} o_{bc}[t]

    over all ways :math:`\pi` to say the classes :math:`y_b`, :math:`L_b` of them, in this order:
    each in one or more windows, with or without blanks between. The blank is the last output.

    Args:
        out: Outputs, ``(T, B, C + 1)``.
        targets: Classes, ``(B, L)``, filled up with anything.
        lengths: Steps of each sample, ``(B,)``.
        counts: Classes of each sample, ``(B,)``.
        window_steps: :math:`w`, in steps.
        scale: :math:`\gamma`, what one spike is worth.

    Returns:
        A 0-dimensional tensor.

    Raises:
        ArgumentError: The shapes do not go together, a class is the blank or beyond it, or a sample
            has fewer windows than it takes to say its classes, which is one each and one between
            two that are alike.

    Example:
        >>> two, steps, counts = torch.tensor([[3, 1]]), torch.tensor([6]), torch.tensor([2])
        >>> round(ctc(torch.zeros(6, 1, 12), two, steps, counts, window_steps=3).item(), 4)
        2.4849

    Reference:
        A. Graves, S. Fernández, F. Gomez, J. Schmidhuber, "Connectionist Temporal Classification",
        ICML 2006, as :class:`torch.nn.CTCLoss` has it; deviation: the windows.
    """
    _check(out, targets, lengths, counts, window_steps)
    log_p = (scale * window_sums(out, window_steps)).log_softmax(-1)
    said = targets.clamp(min=0)
    windows = -(-lengths // window_steps)
    return nn.functional.ctc_loss(log_p, said, windows, counts, blank=out.shape[-1] - 1)


def _check(
    out: Tensor, targets: Tensor, lengths: Tensor, counts: Tensor, window_steps: int
) -> None:
    batch = out.shape[1:2]
    if (
        out.dim() != 3
        or targets.dim() != 2
        or any(x.shape[:1] != batch for x in (targets, lengths, counts))
    ):
        raise ArgumentError(
            f"outputs of shape {tuple(out.shape)}, targets {tuple(targets.shape)}, lengths "
            f"{tuple(lengths.shape)}, counts {tuple(counts.shape)}; ctc takes (T, B, C + 1), "
            "(B, L), (B,), (B,)"
        )
    place = torch.arange(targets.shape[1], device=targets.device)
    is_said = place < counts[:, None]
    wrong = is_said & ((targets < 0) | (targets > out.shape[-1] - 2))
    if bool(wrong.any()) or bool((counts > targets.shape[1]).any()):
        raise ArgumentError(
            f"targets are {targets.tolist()}, {counts.tolist()} of them; with {out.shape[-1]} "
            f"outputs, the last for the blank, classes lie in 0 … {out.shape[-1] - 2}"
        )
    alike = (targets[:, 1:] == targets[:, :-1]) & is_said[:, 1:]
    needed = counts + alike.sum(1)
    windows = -(-lengths // window_steps)
    if bool((windows < needed).any()):
        b = int((windows < needed).nonzero()[0])
        raise ArgumentError(
            f"sample {b} of the batch has {int(lengths[b])} steps, which are {int(windows[b])} "
            f"windows of {window_steps}; its {int(counts[b])} classes take {int(needed[b])} at "
            "least: give it more steps (num_steps, duration_us of the data), or the loss smaller "
            "windows (window_steps)"
        )


def transcribe(out: Tensor, lengths: Tensor, window_steps: int = 1) -> Tensor:
    """Return the classes that outputs say: the highest of each window, without repeats and blanks.

    The blank, which is the last output, wins a tie; among the others the lowest class does.

    Args:
        out: Outputs, ``(T, B, C + 1)``.
        lengths: Steps of each sample, ``(B,)``.
        window_steps: Steps that are summed up.

    Returns:
        ``(B, L)``, filled up with -1.

    Example:
        >>> said = torch.tensor([0, 0, 2, 1, 1, 2, 1])          # 2 is the blank
        >>> out = torch.nn.functional.one_hot(said)[:, None].float()
        >>> transcribe(out, torch.tensor([7])).tolist(), transcribe(out, torch.tensor([4])).tolist()
        ([[0, 1, 1]], [[0, 1]])
    """
    sums = window_sums(out, window_steps)
    blank = out.shape[-1] - 1
    best = sums.argmax(-1)
    best = torch.where(sums[..., blank] >= sums.amax(-1), blank, best)
    windows = -(-lengths.to(out.device) // window_steps)
    best[torch.arange(len(best), device=out.device)[:, None] >= windows] = blank
    before = torch.cat([torch.full_like(best[:1], blank), best[:-1]])
    is_new = (best != blank) & (best != before)
    rows = [best[is_new[:, b], b] for b in range(best.shape[1])]
    return pad_sequence(rows, batch_first=True, padding_value=-1)


class CTC(nn.Module):
    """:func:`ctc` as a module: with it a classifier names the classes of a sequence in their order.

    The data give targets ``(B, L)``, the steps of each sample and the classes of each, as
    :class:`~snnplug.data.ntidigits.NTIDIGITSDataModule` does with ``digits="sequences"``; the
    network has an output more than there are classes.

    Args:
        window_steps: Steps whose outputs are summed up; a class takes a window at least.
        scale: What one spike is worth.

    Shape:
        - outputs ``(T, B, C + 1)``, targets ``(B, L)``, steps ``(B,)``, classes of each ``(B,)``
          → a scalar

    Raises:
        ArgumentError: ``window_steps`` is below 1; or as :func:`ctc`.

    Example:
        >>> two, steps, counts = torch.tensor([[3, 1]]), torch.tensor([6]), torch.tensor([2])
        >>> round(CTC(window_steps=3)(torch.zeros(6, 1, 12), two, steps, counts).item(), 4)
        2.4849

    Reference:
        As :func:`ctc`.
    """

    def __init__(self, window_steps: int = 1, scale: float = 1.0) -> None:
        super().__init__()
        if window_steps < 1:
            raise ArgumentError(f"window_steps is {window_steps}; it has to be at least 1")
        self.window_steps = window_steps
        self.scale = scale

    def forward(self, out: Tensor, targets: Tensor, lengths: Tensor, counts: Tensor) -> Tensor:
        """Return the loss."""
        return ctc(out, targets, lengths, counts, self.window_steps, self.scale)

    def transcribe(self, out: Tensor, lengths: Tensor) -> Tensor:
        """Return the classes that outputs say, ``(B, L)``, as :func:`transcribe` does."""
        return transcribe(out, lengths, self.window_steps)
