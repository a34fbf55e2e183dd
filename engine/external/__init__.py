"""Engines that are programs of their own: jobs of a run that another command line does (docs/external-engines.md).

A spec, a TOML file, says how the program is started and where it leaves renders; specs/ has those of published engines.
"""
