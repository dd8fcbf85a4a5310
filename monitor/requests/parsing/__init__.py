"""Parsing: JSON, pointers, times and the types of fields, as leniently as their meaning allows."""
