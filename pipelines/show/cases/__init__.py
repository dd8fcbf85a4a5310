"""Tables of cases, shared campaigns and traces."""
