"""Tests that run only inside the virtual machine."""
