"""Sharing: campaigns as STIX and MISP, sent to partners and received from them."""
