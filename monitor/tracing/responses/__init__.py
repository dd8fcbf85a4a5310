"""Responses seen: sketches of what campaigns were given, to recognise it in a suspect model."""
