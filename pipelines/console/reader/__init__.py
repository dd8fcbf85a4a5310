"""Fills the view from Redis and the topics."""
