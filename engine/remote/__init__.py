"""Runs in object stores: a folder of this machine mirrors one, and all that makes and reads runs stays as it is."""
