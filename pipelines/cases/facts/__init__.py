"""The facts of a case, computed from records and partitions: the same live and in a replay."""
