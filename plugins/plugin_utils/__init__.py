"""Code that runs on the controller, shared by plugins of every kind."""
