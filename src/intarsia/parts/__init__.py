"""Modules of ours that go into models: one idea a file. They know nothing of plans and of particular models."""
