"""One layer of neurons over a sequence in Triton: what ``native/neuron.h`` is in C++.

Each program takes ``BLOCK`` neurons of all samples through the whole loop over time, with their
state in registers. A neuron's numbers depend on no other neuron: nothing is summed across threads,
and the result is the same in every run. The order of operations is that of ``reference.py``.

Imported only where a kernel is about to run: Triton need not be there.
"""

from __future__ import annotations

import triton
import triton.language as tl

# The numbers of dynamics.RESETS and of its surrogates.
SUBTRACT = tl.constexpr(0)
ZERO = tl.constexpr(1)
NONE = tl.constexpr(2)
MEMBRANE = tl.constexpr(3)
HARD_FIRE = tl.constexpr(0)
STRAIGHT_THROUGH = tl.constexpr(1)
ATAN = tl.constexpr(2)
FAST_SIGMOID = tl.constexpr(3)
SPARSE_FAST_SIGMOID = tl.constexpr(4)
TRIANGULAR = tl.constexpr(5)
SIGMOID = tl.constexpr(6)
GAUSSIAN = tl.constexpr(7)


@triton.jit
def fires(mem, threshold, INCLUSIVE: tl.constexpr):
    """Return the spike of a membrane, 0 or 1."""
    shifted = mem - threshold
    if INCLUSIVE:
        return (shifted >= 0).to(mem.dtype)
    return (shifted > 0).to(mem.dtype)


@triton.jit
def normal(x, sigma, peak):
    """Return a bell of this height."""
    z = x / sigma
    return tl.exp(-0.5 * (z * z)) * peak


@triton.jit
def derivative(x, c0, c1, c2, c3, c4, SURROGATE: tl.constexpr):
    """Return the surrogate's derivative, with the constants that the native kernels have."""
    distance = tl.abs(x)
    if SURROGATE == HARD_FIRE:
        return tl.where(distance < c0, c1, 0.0)
    elif SURROGATE == STRAIGHT_THROUGH:
        return distance * 0.0 + 1.0
    elif SURROGATE == ATAN:
        scaled = c1 * x
        return c0 / (1.0 + scaled * scaled)
    elif SURROGATE == FAST_SIGMOID:
        root = c0 * distance + 1.0
        return 1.0 / (root * root)
    elif SURROGATE == SPARSE_FAST_SIGMOID:
        root = c0 * distance + 1.0
        return tl.where(distance < c1, 1.0 / (root * root), 0.0)
    elif SURROGATE == TRIANGULAR:
        rest = 1.0 - distance / c1
        return c0 * tl.where(rest < 0.0, 0.0, rest)
    elif SURROGATE == SIGMOID:
        power = tl.exp(-c0 * distance)
        tail = power / (1.0 + power)
        return c0 * tail * (1.0 - tail)
    elif SURROGATE == GAUSSIAN:
        return normal(x, c0, c1)
    else:
        lobes = normal(x - c0, c2, c3) + normal(x + c0, c2, c3)
        return (1.0 + c4) * normal(x, c0, c1) - c4 * lobes


@triton.jit(do_not_specialize=["steps"])
def neurons_forward(
    cur, mem0, syn0, spk0, alpha_at, beta_at, threshold_at, own_at, graded_at,
    spk_at, syn_at, mem_at, potential_row, mem_row, syn_row, pre_row,
    steps, width, features,
    RESET: tl.constexpr, INCLUSIVE: tl.constexpr, IMMEDIATE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write spikes, the last state and what backward needs; where an address is None, nothing."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    live = at < width
    feature = at % features
    beta = tl.load(beta_at + feature, mask=live, other=0.0)
    threshold = tl.load(threshold_at + feature, mask=live, other=0.0)
    graded = tl.load(graded_at)
    mem = tl.load(mem0 + at, mask=live, other=0.0)
    syn, spk = mem, mem
    if alpha_at is not None:
        alpha = tl.load(alpha_at + feature, mask=live, other=0.0)
        syn = tl.load(syn0 + at, mask=live, other=0.0)
    if own_at is not None:
        own = tl.load(own_at + feature, mask=live, other=0.0)
        spk = tl.load(spk0 + at, mask=live, other=0.0)
    row = at
    for _ in range(steps):
        now = tl.load(cur + row, mask=live, other=0.0)
        fired = fires(mem, threshold, INCLUSIVE)
        if alpha_at is not None:
            syn = alpha * syn + now
            if own_at is not None:
                syn = syn + spk * own
            pre = beta * mem + syn
        else:
            if RESET == MEMBRANE:
                pre = beta * ((1.0 - fired) * mem) + now
            else:
                pre = beta * mem + now
            if own_at is not None:
                pre = pre + spk * own
        potential = pre
        if RESET == SUBTRACT:
            potential = pre - fired * threshold
        if RESET == ZERO:
            potential = pre - fired * pre
        spike = fires(potential, threshold, INCLUSIVE)
        mem = potential
        if IMMEDIATE:
            if RESET == SUBTRACT:
                mem = potential - (spike - fired) * threshold
            else:
                mem = potential - (spike - fired) * potential
        spk = spike * graded
        if spk_at is not None:
            tl.store(spk_at + row, spk, mask=live)
        if potential_row is not None:
            tl.store(potential_row + row, potential, mask=live)
        if mem_row is not None:
            tl.store(mem_row + row, mem, mask=live)
        if syn_row is not None:
            tl.store(syn_row + row, syn, mask=live)
        if pre_row is not None:
            tl.store(pre_row + row, pre, mask=live)
        row += width
    if mem_at is not None:
        tl.store(mem_at + at, mem, mask=live)
    if syn_at is not None:
        tl.store(syn_at + at, syn, mask=live)


@triton.jit
def one_before(rows, start, row, width, at, live):
    """Return the values of the step before: of the start, where ``row`` is in the first one."""
    later = tl.load(rows + row - width, mask=live & (row >= width), other=0.0)
    return tl.where(row >= width, later, tl.load(start + at, mask=live & (row < width), other=0.0))


@triton.jit(do_not_specialize=["steps"])
def neurons_backward(
    grad_spk, grad_syn, grad_mem, mem0, syn0, spk0,
    alpha_at, beta_at, threshold_at, own_at, graded_at,
    potential_row, mem_row, syn_row, pre_row,
    d_cur, d_mem, d_syn, d_spk, d_parameters,
    c_at, steps, width, features,
    RESET: tl.constexpr, SURROGATE: tl.constexpr, INCLUSIVE: tl.constexpr,
    IMMEDIATE: tl.constexpr, ATTACHED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write all gradients; those of the parameters, if wanted, for each neuron of each sample."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    live = at < width
    feature = at % features
    beta = tl.load(beta_at + feature, mask=live, other=0.0)
    threshold = tl.load(threshold_at + feature, mask=live, other=0.0)
    graded = tl.load(graded_at)
    late = tl.load(grad_mem + at, mask=live, other=0.0)
    zero = tl.full((BLOCK,), 0.0, late.dtype)
    c0, c1, c2 = tl.load(c_at), tl.load(c_at + 1), tl.load(c_at + 2)
    c3, c4 = tl.load(c_at + 3), tl.load(c_at + 4)
    late_syn, feedback = zero, zero
    if alpha_at is not None:
        alpha = tl.load(alpha_at + feature, mask=live, other=0.0)
        late_syn = tl.load(grad_syn + at, mask=live, other=0.0)
    if own_at is not None:
        own = tl.load(own_at + feature, mask=live, other=0.0)
    d_alpha, d_beta, d_threshold, d_own, d_graded = zero, zero, zero, zero, zero
    row = at + (steps - 1).to(tl.int64) * width
    for _ in range(steps):
        potential = tl.load(potential_row + row, mask=live, other=0.0)
        if mem_row is not None:
            before = one_before(mem_row, mem0, row, width, at, live)
        else:
            before = one_before(potential_row, mem0, row, width, at, live)
        spike = fires(potential, threshold, INCLUSIVE)
        fired = zero
        if RESET != NONE:
            fired = fires(before, threshold, INCLUSIVE)
        slope = derivative(potential - threshold, c0, c1, c2, c3, c4, SURROGATE)
        spk = tl.load(grad_spk + row, mask=live, other=0.0) + feedback
        through_spike = spk * graded * slope
        to_threshold = -through_spike
        grad = late + through_spike
        reach = zero
        if IMMEDIATE:
            moved = spike - fired
            if RESET == SUBTRACT:
                grad = grad - late * threshold * slope
                to_threshold = to_threshold + late * (threshold * slope - moved)
                reach = late * threshold
            else:
                grad = late * (1.0 - moved - potential * slope) + through_spike
                to_threshold = to_threshold + late * potential * slope
                reach = late * potential
        kept, factor = before, beta
        if RESET == SUBTRACT:
            to_threshold = to_threshold - grad * fired
            reach = reach - grad * threshold
        if RESET == ZERO:
            if pre_row is not None:
                reach = reach - grad * tl.load(pre_row + row, mask=live, other=0.0)
            grad = grad * (1.0 - fired)
        if RESET == MEMBRANE:
            reach = reach - grad * beta * before
            kept, factor = (1.0 - fired) * before, beta * (1.0 - fired)
        late = grad * factor
        d_beta += grad * kept
        if ATTACHED:
            if RESET != NONE:
                bent = reach * derivative(before - threshold, c0, c1, c2, c3, c4, SURROGATE)
                late = late + bent
                to_threshold = to_threshold - bent
        d_threshold += to_threshold
        if alpha_at is not None:
            grad = grad + late_syn
            late_syn = grad * alpha
        tl.store(d_cur + row, grad, mask=live)
        if own_at is not None:
            feedback = grad * own
        if d_parameters is not None:
            if syn_row is not None:
                d_alpha += grad * one_before(syn_row, syn0, row, width, at, live)
            if own_at is not None:
                last = tl.load(potential_row + row - width, mask=live & (row >= width), other=0.0)
                first = tl.load(spk0 + at, mask=live & (row < width), other=0.0)
                heard = fires(last, threshold, INCLUSIVE) * graded
                d_own += grad * tl.where(row >= width, heard, first)
            d_graded += spk * spike
        row -= width
    tl.store(d_mem + at, late, mask=live)
    if alpha_at is not None:
        tl.store(d_syn + at, late_syn, mask=live)
    if own_at is not None:
        tl.store(d_spk + at, feedback, mask=live)
    if d_parameters is not None:
        out = d_parameters + at
        tl.store(out, d_alpha, mask=live)
        out += width
        tl.store(out, d_beta, mask=live)
        out += width
        tl.store(out, d_threshold, mask=live)
        out += width
        tl.store(out, d_own, mask=live)
        out += width
        tl.store(out, d_graded, mask=live)
