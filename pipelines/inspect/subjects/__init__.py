"""Subjects in Redis: their names, and what is known about one of them."""
