"""Tests of the certificates that the controller keeps."""
