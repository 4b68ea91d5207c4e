"""What is shown to people and programs, escaped for where it goes."""
