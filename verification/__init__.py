"""The black-box suite. It never imports the service; see `conftest.py` for the wall."""
