"""Pages of cases: the cases themselves, letters and appeals, and documents."""
