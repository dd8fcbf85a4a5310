"""Replays of what a case rests on, and the comparison with its facts."""
