"""Requests of the servers, answered in a process of their own."""
