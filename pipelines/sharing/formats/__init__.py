"""What partners exchange, as STIX 2.1 and as events of MISP."""
