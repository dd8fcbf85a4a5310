"""When a round of the linker may run, so that its result does not depend on who was first.

Fingerprints come from all partitions of the requests. Their order on the topic of fingerprints is
that in which the workers were fast: one that catches up may be hours of event time behind another.
So the workers also send their progress (`progress.py`), the linker keeps fingerprints until the
round before them has run (`held.py`), and a round runs when every partition has passed it
(`sources.py`).
"""
