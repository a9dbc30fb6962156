"""Fewer looks, sooner: every common way to poll, and ours, on the same simulated generations."""
