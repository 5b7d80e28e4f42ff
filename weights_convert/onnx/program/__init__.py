"""The steps that a graph was read as: what flows through them, and how they become a spec."""
