"""What the pages show: an SQLite file and its queries."""
