"""Dreamhook: parcel tracking for AI generations."""
