"""The console: web pages that show who extracts the model and why, and where people act on it.

One process serves the pages. Another, the reader, keeps the view up to date: an SQLite file with
what Redis and the topics have, indexed for the pages. Changes go through the functions that `xm
decisions`, `xm alerts` and `xm case` use, so that all of them are audited.
"""
