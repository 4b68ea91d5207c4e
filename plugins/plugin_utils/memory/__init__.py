"""What the controller remembers from one run to the next."""
