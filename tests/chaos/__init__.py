"""Many jobs, many faults, and what must be true afterwards."""
