"""Tracing: which marks were issued, and what a suspect model shows of them."""
