"""Evidence: case files whose entries are signed and chained, so that a change is noticed."""
