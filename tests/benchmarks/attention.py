"""Peak memory and time of code-wise attention at full size: 8,900 codes, 2,500 tokens, 8 notes.

python tests/benchmarks/attention.py [--train]
"""

import resource
import sys
import time

import torch

from rubricator.models.neural.codewise_attention import CodewiseAttention

BATCH, TOKENS, DIM, CODES = 8, 2500, 128, 8900


def peak() -> float:
    """GB that this process has held at once."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


def main(train: bool) -> None:
    torch.manual_seed(0)
    module = CodewiseAttention(DIM, CODES)
    hidden = torch.randn(BATCH, TOKENS, DIM, requires_grad=train)
    mask = torch.arange(TOKENS) < torch.linspace(500, TOKENS, BATCH)[:, None]
    before, started = peak(), time.perf_counter()
    with torch.set_grad_enabled(train):
        logits = module(hidden, mask)
        if train:
            logits.square().mean().backward()
    print(
        f"{CODES:,} codes × {TOKENS:,} tokens × {BATCH} notes, {'forward and back' if train else 'forward'}: "
        f"{time.perf_counter() - started:.1f} s on {torch.get_num_threads()} threads, "
        f"peak {peak():.2f} GB ({before:.2f} GB before)"
    )


if __name__ == "__main__":
    main("--train" in sys.argv)
