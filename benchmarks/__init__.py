"""What actlake costs, as ratios to the least that the same work could cost on the same machine."""
