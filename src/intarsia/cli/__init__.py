"""The command line: one verb a file. Only `main.py` knows them all."""
