"""Membership and leader election for a fleet of rented machines."""

__version__ = "1.0.0"
