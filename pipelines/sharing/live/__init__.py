"""What sharing does while the monitor runs: own hashes become shared ones, imports evidence."""
