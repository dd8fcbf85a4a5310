"""Stream processors to compare with: one file and process each; the meter ends the process."""
