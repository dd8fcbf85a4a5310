"""Marking: puts the mark of a decision into responses, in model servers and in gateways."""
