"""What time and memory may be at a size, of what they were at a smaller one."""

SLOWER = 1.1
"""How many times as long a row, or a posting, may take at the largest size as at a smaller one."""
MORE, MORE_MIB = 1.1, 64
"""What peak memory may be of that at the smallest size, or how much more, if that is more: two runs
differ by a tenth, as threads and allocators do, and the smallest has no whole shard."""
FLAT = f"≤ {MORE:.2f} or + {MORE_MIB} MiB"


def is_flat(least: float, most: float) -> bool:
    """Whether a peak of ``most`` MiB is that of ``least`` at the smallest size."""
    return most <= max(MORE * least, least + MORE_MIB)
