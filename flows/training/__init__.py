"""The work of `train`: one challenger, and the checkpoints of its networks."""
