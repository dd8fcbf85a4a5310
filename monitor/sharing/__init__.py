"""Sharing: indicators of campaigns that partners exchange, as hashes under a salt they agree on."""
