"""The composition root: the one package that names concrete adapters and reads settings.

It imports nothing itself, for a command needs some of the parts and never the application.
"""
