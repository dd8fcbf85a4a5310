"""Tracing: marks in responses, and tests for what a suspect model has learned from them."""
